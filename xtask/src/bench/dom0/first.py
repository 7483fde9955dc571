# Unpauses a domain, and asks it for a page until it answers: `first.py DOMAIN ADDRESS PATH SECONDS` prints how many
# nanoseconds that took, from the hypercall to the first byte of an answer with status 200, and the processor time of the
# domain and of dom0 until then. What was answered is left in the file `first`. Not by `xl unpause`: that takes longer than
# all the rest, not always equally long, and no guest can change it.
import select
import sys
import time
from _socket import SO_ERROR, SOCK_STREAM, SOL_SOCKET, AF_INET, socket
from xen.lowlevel.xc import xc

domain, address, path, seconds = int(sys.argv[1]), *sys.argv[2:]
request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode()
now = time.monotonic_ns
xen = xc()


def used():  # processor time of the domain and of dom0
    times = {other["domid"]: other["cpu_time"] for other in xen.domain_getinfo()}
    return times[domain], times[0]


def gone():
    ours = [other for other in xen.domain_getinfo() if other["domid"] == domain]
    return not ours or ours[0]["dying"] or ours[0]["shutdown"]


def ready(connection, events, milliseconds):
    poll = select.poll()
    poll.register(connection, events)
    return poll.poll(milliseconds)


# TCP would send its first segment again only after a second: a new connection each millisecond instead.
def connected():
    connection = socket(AF_INET, SOCK_STREAM)
    connection.setblocking(False)
    try:
        connection.connect((address, 80))
    except BlockingIOError:
        if ready(connection, select.POLLOUT, 1) and connection.getsockopt(SOL_SOCKET, SO_ERROR) == 0:
            return connection
    except OSError:
        time.sleep(0.001)
    connection.close()


def answer():
    connection = connected()
    if connection is None:
        return None
    try:
        connection.send(request)
        if not ready(connection, select.POLLIN, 1000):
            return None
        first = connection.recv(65536)
        done = now(), used()
        connection.setblocking(True)
        text = first
        while more := connection.recv(65536):
            text += more
        return done, text
    except OSError:
        return None
    finally:
        connection.close()


guest, dom0 = used()
began = now()
xen.domain_unpause(domain)
tries = 0
while (found := answer()) is None:
    tries += 1
    if now() > began + float(seconds) * 1e9:
        sys.exit(f"no answer from {address} within {seconds} s")
    if tries % 100 == 0 and gone():
        sys.exit("the guest has ended")
(ended, (guest_then, dom0_then)), text = found
with open("first", "wb") as file:
    file.write(text)
if not text.startswith(b"HTTP/1.1 200 "):
    sys.exit(f"the first answer was {text[:100]}")
print(ended - began, guest_then - guest, dom0_then - dom0)
