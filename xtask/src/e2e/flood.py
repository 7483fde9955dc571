# `flood.py ADDRESS PATH COUNT VIF KIND`: while frames of a KIND fall on a guest as fast as they can be sent, COUNT new
# clients ask for a page, one after the other. Says how many were served within a second, and how many frames a second
# the vif took and how many it dropped. The kinds: `syn`, to port 80 from everywhere; `echo`, ICMP requests of a full frame;
# `arp`, requests for the guest from everywhere; `noise`, frames that are cut off, too long for what they say, or random.
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


def packet(protocol, source, payload, length=None):
    ends = source + inet_aton(address)
    ip = b"\x45\0" + (length or 20 + len(payload)).to_bytes(2, "big") + b"\0\0\0\0\x40" + protocol
    return ip + checksum(total(ip) + total(ends)) + ends + payload


def everywhere(number):
    return bytes([100, 64 + number % 64, number >> 8 & 255, number & 255])


def syn(number):
    source = everywhere(number)
    ports = (1024 + number * 7 % 60000).to_bytes(2, "big") + b"\0\x50"
    start = ports + (number * 40503 % 2**32).to_bytes(4, "big") + bytes(4) + b"\x50\x02\x20\0"
    ends = source + inet_aton(address)
    sum_of = checksum(total(ends) + 6 + 20 + total(start))
    return b"\x08\0" + packet(b"\x06", source, start + sum_of + b"\0\0")


def echo(number):
    start, rest = b"\x08\0", number.to_bytes(4, "big") + bytes(1468)
    return b"\x08\0" + packet(b"\x01", everywhere(number), start + checksum(total(start + rest)) + rest)


def arp(number):
    asks = b"\0\x01\x08\0\x06\x04\0\x01\x02\0" + everywhere(number) + everywhere(number)
    return b"\x08\x06" + asks + bytes(6) + inet_aton(address) + bytes(18)


def noise(number):
    random = (number * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "big")
    kind, whole = number % 6, syn(number)
    if kind == 0:
        return whole[: 2 + number // 6 % 40]
    if kind == 1:
        return b"\x08\0" + packet(b"\x06", everywhere(number), random, 1500)
    if kind == 2:
        return whole[:14] + random + whole[22:]
    if kind == 3:
        return whole[:34] + random + whole[42:]
    if kind == 4:
        return arp(number)[: 2 + number // 6 % 28] + random
    return random * 100


def flood(go, made):
    for line in open("/proc/net/arp"):
        words = line.split()
        if words[0] == address:
            to, device = bytes.fromhex(words[3].replace(":", "")), words[5]
    own = open(f"/sys/class/net/{device}/address").read().strip().replace(":", "")
    ethernet = to + bytes.fromhex(own)
    frames = [ethernet + made(number) for number in range(20000)]
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
    flood(go, {"syn": syn, "echo": echo, "arp": arp, "noise": noise}[sys.argv[5]])
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
