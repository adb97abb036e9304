"""Goodput of the gateway when far more is asked than its engine can serve.

    python benchmarks/overload.py [--seconds 6] [--output FILE]

An engine serves 10 requests at once, 0.2 s each: 50 a second; more than 10 it answers all the
same, but each takes longer, as engines do. The model's quota is 10 requests at once. Requests
arrive open loop, at 0.5 to 5 times the capacity, from clients that do not wait for each other.
Goodput counts answers with status 200 within 2 s. Prints one JSON object.
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
from gateway import free_port, wait_for

PLACES = 10
SERVICE_S = 0.2
DEADLINE_S = 2.0
CAPACITY = PLACES / SERVICE_S
FACTORS = (0.5, 1.0, 1.5, 2.0, 3.0, 5.0)
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]}).encode()
ANSWER = json.dumps({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 5}}).encode()


async def serve(port: int) -> None:
    """The engine: processor sharing beyond its places."""
    at_once = 0

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal at_once
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                at_once += 1
                await asyncio.sleep(SERVICE_S * max(1.0, at_once / PLACES))
                at_once -= 1
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                    b"content-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


async def offer(url: str, rate: float, seconds: float) -> dict[str, object]:
    """Ask `rate` times a second; returns what came of it."""
    ends: Counter[str] = Counter()
    waits: list[float] = []

    async def ask(session: aiohttp.ClientSession) -> None:
        began = time.monotonic()
        try:
            async with session.post(url, data=BODY) as answer:
                await answer.read()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError) as error:
            ends[type(error).__name__] += 1
            return
        spent_s = time.monotonic() - began
        ends["late" if status == 200 and spent_s > DEADLINE_S else str(status)] += 1
        if status == 200:
            waits.append(spent_s)

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
    return {
        "offered_per_s": rate,
        "goodput_per_s": round(ends["200"] / seconds, 1),
        "ends": dict(ends),
        "p99_s": round(waits[int(0.99 * len(waits))], 3) if waits else None,
    }


async def measure(seconds: float, *, is_limited: bool) -> list[dict[str, object]]:
    """All factors through one gateway."""
    engine_port, port = free_port(), free_port()
    revision = {
        "name": "m-1", "role": "stable", "weight": 100,
        "endpoints": [{"url": f"http://127.0.0.1:{engine_port}"}],
    }  # fmt: skip
    model = {"name": "m", "resource": "default/m", "generation": 1, "revisions": [revision]}
    if is_limited:
        model["limits"] = {"maxConcurrentRequests": PLACES}
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "routes.json"
        table.write_text(json.dumps({"schemaVersion": 1, "models": [model]}))
        command = [sys.executable, "-m", "pagelet", "gateway", "--route-table", str(table)]
        processes = [
            subprocess.Popen([sys.executable, __file__, "--engine", str(engine_port)]),  # noqa: ASYNC220
            subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.DEVNULL),  # noqa: ASYNC220
        ]
        try:
            await wait_for(engine_port)
            await wait_for(port)
            await asyncio.sleep(0.5)
            url = f"http://127.0.0.1:{port}/v1/chat/completions"
            return [await offer(url, factor * CAPACITY, seconds) for factor in FACTORS]
        finally:
            for process in processes:
                process.kill()
                process.wait()


def main() -> None:
    if sys.argv[1:2] == ["--engine"]:
        uvloop.run(serve(int(sys.argv[2])))
        return
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    report: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_average_before": os.getloadavg(),
        "capacity_per_s": CAPACITY,
    }
    for name, is_limited in (("with_quota", True), ("without_quota", False)):
        rows = uvloop.run(measure(options.seconds, is_limited=is_limited))
        goodputs = [float(str(row["goodput_per_s"])) for row in rows]
        share = round(goodputs[-1] / max(goodputs), 3)
        report[name] = {"rows": rows, "at_5x_of_peak": share}
    text = json.dumps(report, indent=2)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
