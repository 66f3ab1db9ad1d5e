#!/usr/bin/env python3
"""A service of the living rig: answers every GET with 200 and a short body, some of them late.

    python3 perf/backend.py PORT [DELAY_MS]

`/count` tells how many other calls were answered. A process for each endpoint, so that one can be
killed, stopped or slow without the others. DELAY_MS is how long an answer waits, on a timer: a
slow service, not a busy one.
"""

import asyncio
import sys

BODY = b"x" * 64


def answer(body):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class Caller(asyncio.Protocol):
    calls = 0

    def __init__(self, delay):
        self.delay, self.received, self.transport = delay, b"", None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        *heads, self.received = (self.received + data).split(b"\r\n\r\n")
        for head in heads:
            if head.startswith(b"GET /count "):
                self.transport.write(answer(b"%d" % Caller.calls))
            else:
                # A check of health is no call.
                Caller.calls += not head.startswith(b"GET /healthz ")
                asyncio.get_running_loop().call_later(self.delay, self.answer)

    def answer(self):
        if not self.transport.is_closing():
            self.transport.write(answer(BODY))


async def main(port, delay_ms):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Caller(delay_ms / 1000), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0))
