"""Goodput of the gateway when far more is asked than its engine can serve.

    python benchmarks/overload.py [--seconds 6] [--ways WAY...] [--output FILE]

An engine serves 10 requests at once, 0.2 s each: 50 a second; more than 10 it answers all the
same, but each takes longer, as engines do. Requests arrive open loop, at 0.5 to 5 times the
capacity, from clients that do not wait for each other. Goodput counts answers with status 200
within 2 s. Four ways through one gateway: with a quota of 10 requests at once; without one, where
clients say how much time they have (`x-request-timeout-ms`), in front of an engine that tells
nothing and of one that tells its queue; and where nobody says anything, so that nothing can be
too late. Prints one JSON object.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import aiohttp
import uvloop
from proxies import free_port, wait_for

PLACES = 10
SERVICE_S = 0.2
DEADLINE_S = 2.0
CAPACITY = PLACES / SERVICE_S
FACTORS = (0.5, 1.0, 1.5, 2.0, 3.0, 5.0)
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]}).encode()
ANSWER = json.dumps({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 5}}).encode()


METRICS = "vllm:num_requests_waiting {}\nvllm:num_requests_running {}\n"
HINT = {"x-request-timeout-ms": str(int(DEADLINE_S * 1000))}

WAYS: dict[str, tuple[dict[str, object], dict[str, str], bool]] = {
    "with_quota": ({"limits": {"maxConcurrentRequests": PLACES}}, {}, False),
    "without_quota": ({}, HINT, False),
    "without_quota_queue_told": ({}, HINT, True),
    "without_quota_or_deadline": ({}, {}, False),
}
"""Fields of the model, headers of the clients, and whether the engine tells its queue."""


def answer(status: int, body: bytes) -> bytes:
    return (
        b"HTTP/1.1 %d Whatever\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
        % (
            status,
            len(body),
            body,
        )
    )


async def serve(port: int, *, tells: bool) -> None:
    """The engine: processor sharing beyond its places."""
    at_once = 0

    async def complete(reader: asyncio.StreamReader, head: bytes) -> bytes:
        nonlocal at_once
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        at_once += 1
        await asyncio.sleep(SERVICE_S * max(1.0, at_once / PLACES))
        at_once -= 1
        return answer(200, ANSWER)

    def load() -> bytes:
        text = METRICS.format(max(0, at_once - PLACES), min(at_once, PLACES))
        return answer(200, text.encode()) if tells else answer(404, b"")

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                writer.write(load() if head[:4] == b"GET " else await complete(reader, head))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


async def offer(
    url: str, rate: float, seconds: float, headers: dict[str, str]
) -> dict[str, object]:
    """Ask `rate` times a second; returns what came of it."""
    ends: Counter[str] = Counter()
    waits: list[float] = []
    began_at = ended_at = time.monotonic()

    async def ask(session: aiohttp.ClientSession) -> None:
        nonlocal ended_at
        began = time.monotonic()
        try:
            async with session.post(url, data=BODY, headers=headers) as said:
                await said.read()
                status = said.status
        except (aiohttp.ClientError, TimeoutError) as error:
            ends[type(error).__name__] += 1
            return
        spent_s = time.monotonic() - began
        ends["late" if status == 200 and spent_s > DEADLINE_S else str(status)] += 1
        if status == 200:
            waits.append(spent_s)
            ended_at = time.monotonic()

    timeout = aiohttp.ClientTimeout(total=10.0)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        asks, due = [], time.monotonic()
        for _ in range(int(rate * seconds)):
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            asks.append(asyncio.create_task(ask(session)))
        await asyncio.gather(*asks)
    waits.sort()
    spent_s = max(seconds, ended_at - began_at)  # what was asked last ends after the others
    return {
        "offered_per_s": rate,
        "goodput_per_s": round(ends["200"] / spent_s, 1),
        "ends": dict(ends),
        "p99_s": round(waits[int(0.99 * len(waits))], 3) if waits else None,
    }


async def measure(
    seconds: float, fields: dict[str, object], headers: dict[str, str], *, tells: bool
) -> list[dict[str, object]]:
    """All factors through one gateway."""
    engine_port, port = free_port(), free_port()
    revision = {
        "name": "m-1", "role": "stable", "weight": 100,
        "endpoints": [{"url": f"http://127.0.0.1:{engine_port}"}],
    }  # fmt: skip
    model = {"name": "m", "resource": "default/m", "generation": 1, "revisions": [revision]}
    model |= fields
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "routes.json"
        table.write_text(json.dumps({"schemaVersion": 1, "models": [model]}))
        command = [sys.executable, "-m", "pagelet", "gateway", "--route-table", str(table)]
        engine = [sys.executable, __file__, "--engine", str(engine_port), "tells"][
            : 5 if tells else 4
        ]
        processes = [
            subprocess.Popen(engine),  # noqa: ASYNC220
            subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.DEVNULL),  # noqa: ASYNC220
        ]
        try:
            wait_for(engine_port)
            wait_for(port)
            await asyncio.sleep(0.5)
            url = f"http://127.0.0.1:{port}/v1/chat/completions"
            return [await offer(url, factor * CAPACITY, seconds, headers) for factor in FACTORS]
        finally:
            for process in processes:
                process.kill()
                process.wait()


def main() -> None:
    if sys.argv[1:2] == ["--engine"]:
        uvloop.run(serve(int(sys.argv[2]), tells=sys.argv[3:] == ["tells"]))
        return
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    report: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_average_before": os.getloadavg(),
        "capacity_per_s": CAPACITY,
    }
    for name in options.ways:
        fields, headers, tells = WAYS[name]
        rows = uvloop.run(measure(options.seconds, fields, headers, tells=tells))
        goodputs = [float(str(row["goodput_per_s"])) for row in rows]
        share = round(goodputs[-1] / max(goodputs), 3)
        report[name] = {"rows": rows, "at_5x_of_peak": share}
    text = json.dumps(report, indent=2)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
