"""What readers that stop reading cost those that read: ITL beside 0 and beside 20 of them.

Serves a small random model, streams to a few readers that read at once, and measures the time
between their chunks, first alone, then beside readers that ask for the longest answer and read
nothing. Rounds alternate, since a machine's pace drifts. Prints one JSON object.

    python benchmarks/slow_readers.py --slow 20 --fast 4 --rounds 5
"""

import argparse
import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from engine_offline import _commit, _cpu
from queued_memory import _resident, _wait_ready, engine_of


def main() -> None:
    """Serve, measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slow", type=int, default=20)
    parser.add_argument("--fast", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="dummy://tiny")
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--settle", type=float, default=5.0, help="seconds for the slow to stall")
    options = parser.parse_args()
    log = Path(tempfile.mkdtemp()) / "serve.log"
    command = [sys.executable, "-m", "pagelet", "serve", options.model, "--port=0", "--no-auth"]
    with log.open("wb") as stderr:
        server = subprocess.Popen(
            [*command, "--served-model-name=m", "--max-num-seqs=256"], stderr=stderr
        )
    try:
        url = _wait_ready(server, log)
        pids = {"api": server.pid, "engine": engine_of(server.pid)}
        print(json.dumps(asyncio.run(_measure(url, pids, options)), indent=1))
    finally:
        server.terminate()
        server.wait(60)


async def _measure(url: str, pids: dict[str, int], options: argparse.Namespace) -> dict:
    await _read(url, options.tokens)
    empty = _resident(pids)
    gaps: dict[str, list[float]] = {"alone": [], "beside": []}
    most = dict(empty)
    for _ in range(options.rounds):
        gaps["alone"] += await _round(url, options)
        slow = [await _ask(url, options.tokens, choices=8) for _ in range(options.slow)]
        await asyncio.sleep(options.settle)  # until all of them are held back
        gaps["beside"] += await _round(url, options)
        now = _resident(pids)
        most = {name: max(most[name], now[name]) for name in pids}
        for _, writer in slow:
            writer.close()
        await asyncio.sleep(0.5)
    return {
        "hardware": _cpu(),
        "load_average": os.getloadavg()[0],
        "commit": _commit(),
        "model": options.model,
        "slow_readers": options.slow,
        "fast_readers": options.fast,
        "itl_ms": {name: _quantiles(found) for name, found in gaps.items()},
        "kib_more": {name: most[name] - empty[name] for name in pids},
    }


async def _round(url: str, options: argparse.Namespace) -> list[float]:
    found = await asyncio.gather(*(_read(url, options.tokens) for _ in range(options.fast)))
    return [gap for gaps in found for gap in gaps]


async def _read(url: str, tokens: int) -> list[float]:
    reader, writer = await _ask(url, tokens)
    times = []
    while (line := await reader.readline()) and line != b"data: [DONE]\n":
        if line.startswith(b"data: "):
            times.append(time.perf_counter())
    writer.close()
    return [later - earlier for earlier, later in itertools.pairwise(times)]


async def _ask(
    url: str, tokens: int, choices: int = 1
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    # A small limit, so that a reader that does not read fills only the kernel's buffers.
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=4096)
    fields = {"model": "m", "prompt": [5, 6, 7], "max_tokens": tokens, "ignore_eos": True}
    data = json.dumps(fields | {"stream": True, "logprobs": 5, "n": choices}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nhost: {parts.netloc}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    await writer.drain()
    return reader, writer


def _quantiles(gaps: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(gaps, n=100)
    return {"p50": round(cuts[49] * 1e3, 2), "p99": round(cuts[98] * 1e3, 2), "n": len(gaps)}


if __name__ == "__main__":
    main()
