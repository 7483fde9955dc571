# Keeps connections open: `open.py ADDRESS PATH COUNT` opens so many, one request on each, says `open`, reads a line, and then
# checks that all are open still and that every hundredth answers. It ends with 0 if so.
import select
import sys
from _socket import AF_INET, SOCK_STREAM, socket

address, path, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()


def ask(number, connection):
    try:
        connection.sendall(request)
        text = b""
        while b"\r\n\r\n" not in text:
            text += more(connection)
        head, body = text.split(b"\r\n\r\n", 1)
        if not head.startswith(b"HTTP/1.1 200 "):
            raise OSError(f"the answer is {head[:40]}")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += more(connection)
    except OSError as error:
        sys.exit(f"connection {number} of {count}: {error}")


def more(connection):
    received = connection.recv(65536)
    if not received:
        raise OSError("closed")
    return received


connections = []
for number in range(1, count + 1):
    connection = socket(AF_INET, SOCK_STREAM)
    connection.settimeout(10)
    try:
        connection.connect((address, 80))
    except OSError as error:
        sys.exit(f"connection {number} of {count}: {error}")
    ask(number, connection)
    connections.append(connection)
print("open", flush=True)
sys.stdin.readline()
poll = select.poll()
for connection in connections:
    poll.register(connection, select.POLLIN)
if closed := len(poll.poll(0)):
    sys.exit(f"{closed} of {count} connections were closed")
for number in range(1, count + 1, 100):
    ask(number, connections[number - 1])
