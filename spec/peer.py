"""A peer that does what its command line says, for specs.

usage: peer.py KIND STEP...
       peer.py @FILE

KIND is tcp, tcp6, udp, unix:PATH or unixdgram:PATH. It prints "port N" (or
"ready") once it listens. Every connection runs the steps in a thread of its
own, and is closed after the last; for datagrams, each of them runs the steps.
FILE has many peers, one on each line, with tabs between its words.

    send:TEXT   sends, with Python's escapes in TEXT (\\r, \\n, \\x00)
    sleep:MS    waits
    read:N      reads exactly N bytes
    line        reads up to LF
    drain       reads up to the end of the stream
    report      prints "got " and what has been read so far, as Python has it
    echo        sends back what comes, up to the end of the stream; for a
                datagram, all of it
    shutdown    ends its sending direction
    reset       closes with RST
    close       closes
"""
import socket
import struct
import sys
import threading
import time


class Connection:
    def __init__(self, sock, first=b"", reply=None):
        self.sock = sock
        self.got = first
        self.send = reply or sock.sendall

    def take(self, size):
        data = self.sock.recv(size)
        self.got += data
        return data

    def step(self, name, argument):
        if name == "send":
            text = argument.encode("latin-1").decode("unicode_escape")
            self.send(text.encode("latin-1"))
        elif name == "sleep":
            time.sleep(int(argument) / 1000)
        elif name == "read":
            left = int(argument)
            while left > 0:
                data = self.take(left)
                if not data:
                    break
                left -= len(data)
        elif name == "line":
            while self.take(1) not in (b"\n", b""):
                pass
        elif name == "drain":
            while self.take(65536):
                pass
        elif name == "report":
            print("got", repr(self.got), flush=True)
            self.got = b""
        elif name == "echo":
            if self.send != self.sock.sendall:
                self.send(self.got)
                return
            while True:
                data = self.sock.recv(65536)
                if not data:
                    break
                self.send(data)
        elif name == "shutdown":
            self.sock.shutdown(socket.SHUT_WR)
        elif name == "reset":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                 struct.pack("ii", 1, 0))
            self.sock.close()
        elif name == "close":
            self.sock.close()
        else:
            raise ValueError("no step " + name)

    def run(self, steps):
        try:
            for text in steps:
                name, _, argument = text.partition(":")
                self.step(name, argument)
        except OSError:
            pass # the other end went first, which is its own affair


def serve_connection(sock, steps):
    with sock:
        Connection(sock).run(steps)


def serve_stream(server, steps):
    while True:
        sock, _ = server.accept()
        threading.Thread(target=serve_connection, args=(sock, steps),
                         daemon=True).start()


def serve_datagrams(server, steps):
    while True:
        data, addr = server.recvfrom(65536)
        Connection(server, data, lambda out: server.sendto(out, addr)) \
            .run(steps)


def start(kind, *steps):
    family, _, path = kind.partition(":")
    of_datagrams = family in ("udp", "unixdgram")
    server = socket.socket(
        socket.AF_UNIX if path
        else socket.AF_INET6 if family == "tcp6" else socket.AF_INET,
        socket.SOCK_DGRAM if of_datagrams else socket.SOCK_STREAM)
    server.bind(path or ("::1" if family == "tcp6" else "127.0.0.1", 0))
    if not of_datagrams:
        server.listen(100)
    print("ready" if path else "port %d" % server.getsockname()[1], flush=True)
    serve = serve_datagrams if of_datagrams else serve_stream
    thread = threading.Thread(target=serve, args=(server, steps))
    thread.start()
    return thread


def main():
    if sys.argv[1][:1] == "@":
        with open(sys.argv[1][1:]) as peers:
            threads = [start(*line.rstrip("\n").split("\t"))
                       for line in peers]
    else:
        threads = [start(*sys.argv[1:])]
    for thread in threads:
        thread.join()


main()
