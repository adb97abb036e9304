"""What the gateway costs: added latency, relayed chunks per core, resident memory.

    python benchmarks/gateway.py [--streams 200] [--seconds 10] [--output FILE]

Three processes on one machine: an engine that writes time-stamped events, the gateway, and
this one, which reads them directly and through the gateway. All stamps come from the same
monotonic clock, so a latency is a plain difference. "Per core" divides by the gateway's own
CPU time, since on a small machine the three share the cores. Prints one JSON object.
"""

import argparse
import asyncio
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

BODY = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hello"}]}'
SPREAD_S = 2.0
"""Streams begin over this time: the bar is for open streams, not for a burst of new ones."""
STAMP = b'"stamp":'


def engine(port: int, interval_s: float, num_events: int) -> None:
    """Serve streams: one event each `interval_s`, or as fast as they are read when it is 0."""

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:  # only looked whether somebody listens
            writer.close()
            return
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        )
        due = time.monotonic()
        for _ in range(num_events):
            due += interval_s
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            writer.write(chunk(event()))
            await writer.drain()
        writer.write(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(stream, "127.0.0.1", port, backlog=2048)
        await server.serve_forever()

    uvloop.run(serve())


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


@dataclass
class Load:
    """What one run of streams saw."""

    latencies_s: list[float] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)
    num_events: int = 0
    num_whole: int = 0

    def quantile_ms(self, values: list[float], q: float) -> float:
        ordered = sorted(values)
        return round(1000 * ordered[min(len(ordered) - 1, int(q * len(ordered)))], 3)

    def report(self) -> dict[str, float | int]:
        return {
            "events": self.num_events,
            "whole_streams": self.num_whole,
            "event_p50_ms": self.quantile_ms(self.latencies_s, 0.50),
            "event_p99_ms": self.quantile_ms(self.latencies_s, 0.99),
            "ttft_p50_ms": self.quantile_ms(self.first_s, 0.50),
            "ttft_p99_ms": self.quantile_ms(self.first_s, 0.99),
        }


async def read_stream(port: int, load: Load) -> None:
    """Ask for one stream over a raw socket and note when each event arrives."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    asked_at = time.monotonic()
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
    )
    tail, is_first = b"", True
    while data := await reader.read(262_144):
        now = time.monotonic()
        *whole, tail = (tail + data).split(b"\n\n")
        for item in whole:
            _, found, stamp = item.partition(STAMP)
            if not found:
                continue
            load.latencies_s.append(now - float(stamp.removesuffix(b"}")))
            load.num_events += 1
            if is_first:
                load.first_s.append(now - asked_at)
                is_first = False
        load.num_whole += b"[DONE]" in b"".join(whole)
    writer.close()


async def run_load(port: int, streams: int, spread_s: float) -> Load:
    """Read so many streams at once, begun over `spread_s` seconds."""
    load = Load()

    async def one(index: int) -> None:
        await asyncio.sleep(spread_s * index / streams)
        await read_stream(port, load)

    await asyncio.gather(*(one(index) for index in range(streams)))
    return load


def cpu_s(pid: int) -> float:
    """CPU time a process has used, user and system, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    """Resident memory of a process, MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise SystemExit(f"nothing listens on port {port}")


class Bench:
    """The gateway under test and the engines behind it."""

    def __init__(self, folder: Path) -> None:
        self.table = folder / "routes.json"
        self.port = free_port()
        self.gateway = subprocess.Popen(
            [
                sys.executable, "-m", "pagelet", "gateway",
                "--route-table", str(self.table), "--port", str(self.port),
            ],
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.engines: list[subprocess.Popen[bytes]] = []

    async def engine(self, interval_s: float, num_events: int) -> int:
        """Start an engine and route the model to it; returns its port."""
        port = free_port()
        arguments = [__file__, "--engine", str(port), str(interval_s), str(num_events)]
        self.engines.append(subprocess.Popen([sys.executable, *arguments]))  # noqa: ASYNC220
        await wait_for(port)
        revision = {
            "name": f"m-{port}", "role": "stable", "weight": 100,
            "endpoints": [{"url": f"http://127.0.0.1:{port}"}],
        }  # fmt: skip
        model = {"name": "m", "resource": "default/m", "generation": 1, "revisions": [revision]}
        fresh = self.table.with_suffix(".new")
        fresh.write_text(json.dumps({"schemaVersion": 1, "models": [model]}))
        os.replace(fresh, self.table)
        await wait_for(self.port)
        await asyncio.sleep(0.5)
        return port

    def close(self) -> None:
        for process in (self.gateway, *self.engines):
            process.send_signal(signal.SIGTERM)
            process.wait()


async def measure(streams: int, seconds: float) -> dict[str, object]:
    """Run everything; returns the report."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        try:
            interval_s = 0.1
            port = await bench.engine(interval_s, int(seconds / interval_s))
            pid = bench.gateway.pid
            idle_mib = rss_mib(pid)
            rounds = []
            for _ in range(3):
                direct = await run_load(port, streams, SPREAD_S)
                before_s = cpu_s(pid)
                through = await run_load(bench.port, streams, SPREAD_S)
                used_s = cpu_s(pid) - before_s
                rounds.append(compare(direct, through, used_s))
            loaded_mib = rss_mib(pid)
            flood = await measure_flood(bench, streams)
        finally:
            bench.close()
    return {
        "streams": streams,
        "paced": {"interval_s": interval_s, "rounds": rounds},
        "flood": flood,
        "memory_mib": {
            "idle": idle_mib,
            "after_paced": loaded_mib,
            "after_flood": flood.pop("rss"),
        },
    }


def compare(direct: Load, through: Load, used_s: float) -> dict[str, object]:
    straight, relayed = direct.report(), through.report()
    added = {key: round(relayed[key] - straight[key], 3) for key in straight if key.endswith("_ms")}
    return {
        "direct": straight,
        "gateway": relayed,
        "added": added,
        "gateway_cpu_s": round(used_s, 2),
        "chunks_per_core_s": round(through.num_events / used_s),
    }


async def measure_flood(bench: Bench, streams: int) -> dict[str, object]:
    """Engines write as fast as the gateway reads."""
    await bench.engine(0.0, 2000)
    pid = bench.gateway.pid
    before_s, began = cpu_s(pid), time.monotonic()
    load = await run_load(bench.port, streams, 0.0)
    elapsed_s, used_s = time.monotonic() - began, cpu_s(pid) - before_s
    return {
        "events": load.num_events,
        "whole_streams": load.num_whole,
        "events_per_s": round(load.num_events / elapsed_s),
        "events_per_core_s": round(load.num_events / used_s),
        "rss": rss_mib(pid),
    }


def main() -> None:
    if sys.argv[1:2] == ["--engine"]:
        engine(int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        **uvloop.run(measure(options.streams, options.seconds)),
    }
    text = json.dumps(report, indent=2)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
