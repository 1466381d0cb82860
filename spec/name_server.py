"""A hostile name server, for specs: on 127.0.0.1:53, over UDP and TCP.

What it answers, the first label of the name says; see ANSWERS. Names that
aren't there are one address, 127.0.0.1. Only A has addresses, AAAA has none.
It prints "ready" once it listens, and ends by itself after two minutes.
"""
import signal
import socket
import struct
import threading
import time

A = 1
CNAME = 5
AAAA = 28
TRUNCATED = 0x0200
ANSWER = 0x8180 # to a recursive question, by a server that recurses


class Question:
    def __init__(self, packet, over_tcp):
        self.id, = struct.unpack(">H", packet[:2])
        end = packet.index(b"\0", 12) + 5
        self.section = packet[12:end]
        self.type, = struct.unpack(">H", packet[end - 4:end - 2])
        self.label = packet[13:13 + packet[12]].decode("latin-1").lower()
        self.over_tcp = over_tcp
        self.answered = A

    def header(self, flags, count):
        return struct.pack(">HHHHHH", self.id, ANSWER | flags, 1, count, 0, 0)

    def reply(self, records=(), flags=0):
        if self.type != self.answered:
            records = ()
        return self.header(flags, len(records)) + self.section \
            + b"".join(records)


def record(data, type=A, name=b"\xc0\x0c"): # the name that was asked for
    return name + struct.pack(">HHIH", type, 1, 0, len(data)) + data


def address(last):
    return record(bytes([127, 0, 0, last]))


LONGEST = (b"\x3f" + b"\xff" * 63) * 3 + b"\x3d" + b"\xff" * 61 + b"\0"
FIFTY = [address(last) for last in range(2, 52)]


def many(question):
    if question.over_tcp:
        return question.reply(FIFTY)
    return question.reply(FIFTY[:20], TRUNCATED)


def both(question):
    if question.type == AAAA:
        question.answered = AAAA
        return question.reply([record(bytes(15) + b"\1", AAAA)])
    return question.reply([address(1)])


def slow(question):
    time.sleep(3)
    return question.reply([address(1)])


def other_id(question):
    question.id ^= 1
    return question.reply([address(1)])


def other_name(question):
    question.section = b"\5other" + question.section[question.section[0] + 1:]
    return question.reply([address(1)])


ANSWERS = {
    "nx": lambda q: q.reply(flags=3),
    "servfail": lambda q: q.reply(flags=2),
    "refused": lambda q: q.reply(flags=5),
    "empty": lambda q: q.reply(),
    "both": both, # 127.0.0.1 and ::1
    "many": many, # which UDP cuts
    "large": lambda q: q.reply(FIFTY), # more than UDP should hold
    "cut": lambda q: q.reply([address(1)], TRUNCATED), # over TCP, too
    "cutempty": lambda q: q.reply(flags=TRUNCATED),
    "garbage": lambda q: struct.pack(">H", q.id) + b"\xff" * 60,
    "short": lambda q: struct.pack(">HB", q.id, 0x81),
    "nothing": lambda q: b"",
    "silent": lambda q: None,
    "slow": slow,
    "otherid": other_id,
    "othername": other_name,
    # An address that is too short, and one that ends beyond the packet.
    "stub": lambda q: q.reply([record(b"\x7f\0\0")]),
    "beyond": lambda q: q.reply([address(1)])[:-2],
    # An alias of the longest name, of bytes that are written \\ddd.
    "longest": lambda q: q.reply(
        [record(LONGEST, CNAME), record(bytes([127, 0, 0, 1]), A, LONGEST)]),
    # Names that are themselves: an alias, and a pointer.
    "loop": lambda q: q.reply([record(b"\xc0\x0c", CNAME)]),
    "pointer": lambda q: q.reply(
        [record(b"", CNAME, struct.pack(">H", 0xc000 + 12 + len(q.section)))]),
}


def answer(packet, over_tcp):
    question = Question(packet, over_tcp)
    known = ANSWERS.get(question.label)
    return known(question) if known else question.reply([address(1)])


def serve_udp(server, packet, peer):
    reply = answer(packet, False)
    if reply is not None:
        server.sendto(reply, peer)


def serve_tcp(sock):
    with sock, sock.makefile("rb") as stream:
        while True:
            size = stream.read(2)
            if len(size) < 2:
                return
            reply = answer(stream.read(struct.unpack(">H", size)[0]), True)
            if reply is not None:
                sock.sendall(struct.pack(">H", len(reply)) + reply)


def in_thread(function, *arguments):
    threading.Thread(target=function, args=arguments, daemon=True).start()


def accept(server):
    while True:
        sock, _ = server.accept()
        in_thread(serve_tcp, sock)


def main():
    signal.alarm(120)
    stream = socket.socket()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    stream.bind(("127.0.0.1", 53))
    stream.listen(100)
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("127.0.0.1", 53))
    in_thread(accept, stream)
    print("ready", flush=True)
    while True:
        packet, peer = datagrams.recvfrom(65536)
        in_thread(serve_udp, datagrams, packet, peer)


main()
