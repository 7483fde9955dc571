# Uploads to the discard service: `upload.py ADDRESS MIB SECONDS` sends so many MiB, waits until the other side has read all and
# closed, and does so again until the time is over. Prints MiB a second.
import sys
import time
from _socket import AF_INET, SHUT_WR, SOCK_STREAM, socket

address, mib, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
chunk = bytes(range(256)) * 4096
began = time.monotonic()
sent = 0
while time.monotonic() < began + seconds:
    connection = socket(AF_INET, SOCK_STREAM)
    connection.connect((address, 9))
    for _ in range(mib):
        connection.sendall(chunk)
    connection.shutdown(SHUT_WR)
    if connection.recv(1):
        sys.exit(f"{address} has something to say on port 9")
    connection.close()
    sent += mib
print("MiB/sec:", sent / (time.monotonic() - began))
