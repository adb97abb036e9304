"""How many prompt tokens come out of the engines' prefix caches, by routing policy.

    python benchmarks/affinity.py [--engines 3] [--conversations 24] [--turns 4] [--output FILE]

Real engines with a tiny model behind a real gateway. Conversations begin with one of four
introductions and grow by every turn; a few are open at a time. The same requests are made under
each policy, by fresh engines. Counts do not depend on how busy the machine is. Prints JSON.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import aiohttp
from gateway import free_port, wait_for

POLICIES = ("RoundRobin", "LeastQueue", "PrefixAware")
AT_ONCE = 6
WORDS = (
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "while",
    "rain",
    "falls",
)


def text(seed: str, num_bytes: int) -> str:
    """Words that are the same for the same seed."""
    chosen = random.Random(seed)
    found = ""
    while len(found) < num_bytes:
        found += chosen.choice(WORDS) + " "
    return found


async def converse(session: aiohttp.ClientSession, url: str, number: int, turns: int) -> Counter:
    """One conversation; returns prompt tokens, cached tokens and requests."""
    seen: Counter[str] = Counter()
    prompt = text(f"introduction {number % 4}", 200)
    for turn in range(turns):
        prompt += text(f"conversation {number} turn {turn}", 64)
        body = {"model": "m", "prompt": prompt, "max_tokens": 2, "temperature": 0}
        async with session.post(url, json=body) as answer:
            assert answer.status == 200, await answer.text()
            usage = (await answer.json())["usage"]
        seen["prompt"] += usage["prompt_tokens"]
        seen["cached"] += usage["prompt_tokens_details"]["cached_tokens"]
        seen["requests"] += 1
    return seen


async def requests_taken(session: aiohttp.ClientSession, port: int) -> int:
    """How many requests an engine has answered."""
    async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    name = "pagelet_engine_requests_total{"
    return int(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)))


async def measure(policy: str, options: argparse.Namespace) -> dict[str, object]:
    """All conversations under one policy."""
    ports, port = [free_port() for _ in range(options.engines)], free_port()
    model = {
        "name": "m", "resource": "default/m", "generation": 1, "routing": {"policy": policy},
        "revisions": [
            {"name": "m-1", "role": "stable", "weight": 100,
             "endpoints": [{"url": f"http://127.0.0.1:{each}"} for each in ports]},
        ],
    }  # fmt: skip
    run = [sys.executable, "-m", "pagelet"]
    engine = [*run, "serve", "dummy://tiny", "--served-model-name", "m", "--no-auth"]
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "routes.json"
        table.write_text(json.dumps({"schemaVersion": 1, "models": [model]}))
        gateway = [*run, "gateway", "--route-table", str(table), "--port", str(port)]
        engines = [[*engine, "--port", str(each)] for each in ports]
        for command in (*engines, gateway):
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: ASYNC220
            stack.callback(process.wait)
            stack.callback(process.terminate)
        session = await _session(stack, [*ports, port])
        try:
            return await _converse_all(session, port, ports, options) | {"policy": policy}
        finally:
            await session.close()


async def _session(stack: ExitStack, ports: list[int]) -> aiohttp.ClientSession:
    for port in ports:
        await wait_for(port)
    session = aiohttp.ClientSession()
    for port in ports:
        for _ in range(600):
            async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                if answer.status == 200:
                    break
            await asyncio.sleep(0.1)
    return session


async def _converse_all(
    session: aiohttp.ClientSession, port: int, ports: list[int], options: argparse.Namespace
) -> dict[str, object]:
    url = f"http://127.0.0.1:{port}/v1/completions"
    places = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> Counter:
        async with places:
            return await converse(session, url, number, options.turns)

    total: Counter[str] = Counter()
    for seen in await asyncio.gather(*(one(number) for number in range(options.conversations))):
        total.update(seen)
    taken = [await requests_taken(session, each) for each in ports]
    return {
        "requests": total["requests"],
        "prompt_tokens": total["prompt"],
        "hit_ratio": round(total["cached"] / total["prompt"], 3),
        "busiest_over_mean": round(max(taken) * len(taken) / max(1, sum(taken)), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--engines", type=int, default=3)
    parser.add_argument("--conversations", type=int, default=24)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rows = [asyncio.run(measure(policy, options)) for policy in POLICIES]
    text_of_rows = json.dumps({"engines": options.engines, "rows": rows}, indent=2)
    print(text_of_rows)
    if options.output:
        options.output.write_text(text_of_rows + "\n")


if __name__ == "__main__":
    main()
