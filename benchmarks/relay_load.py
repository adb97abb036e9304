"""The two ends of a relay under test: an engine that writes stamped events, and its readers.

Both are bare protocols, so that they fit into one core beside what is measured. Stamps are of
the monotonic clock that all processes of a machine share; a latency is a plain difference.

    python benchmarks/relay_load.py PORT INTERVAL_S NUM_EVENTS

serves streams: one event each INTERVAL_S, or as fast as they are read when it is 0.
"""

import asyncio
import contextlib
import sys
import time
from dataclasses import dataclass, field

import uvloop

BODY = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hello"}]}'
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
)
DONE = b"data: [DONE]\n\n"
LAST_CHUNK = b"0\r\n\r\n"
STAMP = b'"stamp":'


def event() -> bytes:
    """A chat chunk of usual size with the time it was made, seconds."""
    return (
        b'data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1,'
        b'"model":"m","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}],'
        b'"stamp":%.6f}\n\n' % time.monotonic()
    )


def chunk(data: bytes) -> bytes:
    """One part of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class EngineStream(asyncio.Protocol):
    """One connection to the engine, one stream."""

    def __init__(self, interval_s: float, num_events: int) -> None:
        self._interval_s = interval_s
        self._left = num_events
        self._received = b""
        self._is_paused = False
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._received.endswith(b"}") and b"\r\n\r\n" in self._received:
            self._transport.write(HEAD)
            self._due = self._loop.time() + self._interval_s
            self._write_next()

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        if not self._interval_s:
            self._write_next()

    def _write_next(self) -> None:
        if self._transport.is_closing():
            return
        if not self._left:
            self._transport.write(chunk(DONE) + b"0\r\n\r\n")
            self._transport.close()
            return
        if not self._is_paused:
            self._left -= 1
            self._transport.write(chunk(event()))
        if self._interval_s:
            self._due += self._interval_s
            self._loop.call_at(self._due, self._write_next)
        elif not self._is_paused:
            self._loop.call_soon(self._write_next)


@dataclass
class Load:
    """What one run of streams saw."""

    latencies_s: list[float] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)
    num_whole: int = 0
    num_reads: int = 0
    began_at: float = 0.0
    ended_at: float = 0.0

    def report(self) -> dict[str, float | int]:
        """Counts, rates and quantiles in milliseconds."""
        spent_s = self.ended_at - self.began_at
        return {
            "events": len(self.latencies_s),
            "whole_streams": self.num_whole,
            "events_per_s": round(len(self.latencies_s) / spent_s),
            "events_per_read": round(len(self.latencies_s) / max(1, self.num_reads), 2),
            "event_p50_ms": quantile_ms(self.latencies_s, 0.50),
            "event_p99_ms": quantile_ms(self.latencies_s, 0.99),
            "ttft_p50_ms": quantile_ms(self.first_s, 0.50),
            "ttft_p99_ms": quantile_ms(self.first_s, 0.99),
        }


def quantile_ms(values: list[float], q: float) -> float:
    """The q-quantile of seconds, in milliseconds."""
    ordered = sorted(values) or [0.0]
    return round(1000 * ordered[min(len(ordered) - 1, int(q * len(ordered)))], 3)


class Reader(asyncio.Protocol):
    """Asks for one stream and notes when each event arrives."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._tail = self._end = b""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._asked_at = time.monotonic()
        self._is_first = True
        transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        now, load = time.monotonic(), self._load
        load.num_reads += 1
        *whole, self._tail = (self._tail + data).split(b"\n\n")
        self._end = (self._end + data)[-len(LAST_CHUNK) :]
        for item in whole:
            _, found, stamp = item.partition(STAMP)
            if not found:
                continue
            # A proxy may cut chunks anywhere, in the middle of a number, too.
            with contextlib.suppress(ValueError):
                load.latencies_s.append(now - float(stamp[:-1]))
            if self._is_first:
                self._is_first = False
                load.first_s.append(now - self._asked_at)

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.num_whole += self._end == LAST_CHUNK
        if not self.ended.done():
            self.ended.set_result(None)


async def read_streams(port: int, streams: int, spread_s: float) -> Load:
    """Read so many streams at once, begun over `spread_s` seconds."""
    load, loop = Load(began_at=time.monotonic()), asyncio.get_running_loop()

    async def one(index: int) -> None:
        await asyncio.sleep(spread_s * index / streams)
        _, reader = await loop.create_connection(lambda: Reader(load), "127.0.0.1", port)
        await reader.ended

    await asyncio.gather(*(one(index) for index in range(streams)))
    load.ended_at = time.monotonic()
    return load


async def serve(port: int, interval_s: float, num_events: int) -> None:
    """Serve streams until killed."""
    server = await asyncio.get_running_loop().create_server(
        lambda: EngineStream(interval_s, num_events), "127.0.0.1", port, backlog=2048
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
