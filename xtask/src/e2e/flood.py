# `flood.py ADDRESS PATH COUNT VIF`: while SYNs from everywhere fall on port 80 of a guest as fast as they can be sent, COUNT new
# clients ask for a page, one after the other. Says how many were served within a second, and how many frames a second
# the vif took and how many it dropped.
import posix
import sys
import time
from _socket import AF_INET, AF_PACKET, SOCK_RAW, SOCK_STREAM, inet_aton, socket

address, path, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode()


def total(data):
    return sum(data[0::2]) * 256 + sum(data[1::2])


def checksum(value):
    while value > 0xFFFF:
        value = (value & 0xFFFF) + (value >> 16)
    return (value ^ 0xFFFF).to_bytes(2, "big")


def syn(number, ethernet):
    source = bytes([100, 64 + number % 64, number >> 8 & 255, number & 255])
    ports = (1024 + number * 7 % 60000).to_bytes(2, "big") + b"\0\x50"
    start = ports + (number * 40503 % 2**32).to_bytes(4, "big") + bytes(4) + b"\x50\x02\x20\0"
    ends = source + inet_aton(address)
    sum_of = checksum(total(ends) + 6 + 20 + total(start))
    ip = b"\x45\0\0\x28\0\0\0\0\x40\x06"
    ip += checksum(total(ip) + total(ends)) + ends
    return ethernet + ip + start + sum_of + b"\0\0"


def flood(go):
    for line in open("/proc/net/arp"):
        words = line.split()
        if words[0] == address:
            to, device = bytes.fromhex(words[3].replace(":", "")), words[5]
    own = open(f"/sys/class/net/{device}/address").read().strip().replace(":", "")
    ethernet = to + bytes.fromhex(own) + b"\x08\0"
    frames = [syn(number, ethernet) for number in range(20000)]
    wire = socket(AF_PACKET, SOCK_RAW)
    wire.bind((device, 0))
    posix.write(go, b".")
    while True:
        for frame in frames:
            try:
                wire.send(frame)
            except OSError:
                # There is no room for as many.
                time.sleep(0.001)


def ask():
    connection = socket(AF_INET, SOCK_STREAM)
    connection.settimeout(5)
    connection.connect((address, 80))
    connection.sendall(request)
    text = b""
    while part := connection.recv(65536):
        text += part
    head, body = text.split(b"\r\n\r\n", 1)
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    return head.startswith(b"HTTP/1.1 200 ") and len(body) == length


def counted(what):
    return int(open(f"/sys/class/net/{sys.argv[4]}/statistics/{what}").read())


ask()
come, go = posix.pipe()
child = posix.fork()
if child == 0:
    flood(go)
posix.read(come, 1)
served, slowest, begun, before = 0, 0, time.monotonic(), counted("tx_packets")
for number in range(count):
    start = time.monotonic()
    try:
        good = ask()
    except (OSError, ValueError, IndexError) as error:
        print(f"client {number}: {error!r}")
        good = False
    took = time.monotonic() - start
    slowest = max(slowest, took)
    served += good and took < 1
rate = (counted("tx_packets") - before) / (time.monotonic() - begun)
posix.kill(child, 9)
print(f"served {served} slowest {slowest:.3f} frames {rate:.0f} dropped {counted('tx_dropped')}")
