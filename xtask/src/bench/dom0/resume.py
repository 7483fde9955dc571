# Handshakes that resume a session: `resume.py ADDRESS PATH SECONDS` asks for a page by HTTPS, on a new connection each time, with the
# ticket of the one before. Prints how many there were a second; ends with an error if a session was not resumed. Without the
# module `ssl` above OpenSSL's, which takes longer than all the rest.
import sys
import time
from _socket import AF_INET, SOCK_STREAM, socket
import _ssl

address, path, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
request = f"GET {path} HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n".encode()
context = _ssl._SSLContext(_ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = _ssl.CERT_NONE


def ask(session):
    connection = socket(AF_INET, SOCK_STREAM)
    connection.connect((address, 443))
    incoming, outgoing = _ssl.MemoryBIO(), _ssl.MemoryBIO()
    sealed = context._wrap_bio(incoming, outgoing, False, None)
    if session is not None:
        sealed.session = session

    def step(function, *arguments):
        while True:
            try:
                result = function(*arguments)
                break
            except _ssl.SSLWantReadError:
                if outgoing.pending:
                    connection.sendall(outgoing.read())
                more = connection.recv(65536)
                incoming.write(more) if more else incoming.write_eof()
        if outgoing.pending:
            connection.sendall(outgoing.read())
        return result

    step(sealed.do_handshake)
    step(sealed.write, request)
    answer = step(sealed.read, 65536)
    if not answer.startswith(b"HTTP/1.1 200 "):
        sys.exit(f"the answer is {answer[:40]}")
    try:
        while step(sealed.read, 65536):
            pass
    except _ssl.SSLError:  # the end, said or not
        pass
    connection.close()
    return sealed.session, sealed.session_reused


session, _ = ask(None)
began = time.monotonic()
count = 0
while time.monotonic() < began + seconds:
    session, is_resumed = ask(session)
    if not is_resumed:
        sys.exit("a session was not resumed")
    count += 1
print("Resumed/sec:", count / (time.monotonic() - began))
