"""Many clients at once: some read to the end, some leave, some break; none disturbs another."""

import asyncio
import json
import random

import aiohttp
import pytest

from pagelet_engine.testing_process import Fault
from server_process import echo_server

NUM_CLIENTS = 120
PATIENCE_S = 60


@pytest.fixture(scope="module")
def url():
    with echo_server("--step-seconds", "0.002", "--max-num-seqs", "32") as server:
        yield server.wait_ready()


def body(number, **fields):
    return {"model": "echo", "prompt": f"[{number}é]", "max_tokens": 80, "stream": True} | fields


async def read(session, url, request):
    """Return the text of a whole stream and its last event."""
    text, last = "", ""
    async with session.post(f"{url}/v1/completions", json=request) as response:
        assert response.status == 200
        async for line in response.content:
            if line.startswith(b"data: "):
                last = line.decode().removeprefix("data: ").strip()
                for choice in json.loads(last).get("choices", []) if last != "[DONE]" else []:
                    text += choice["text"]
    return text, last


async def leave(session, url, request, num_chunks):
    """Read some chunks (none: leave while queued or computing), then close the connection."""
    try:
        async with asyncio.timeout(0.02 if not num_chunks else PATIENCE_S):
            async with session.post(f"{url}/v1/completions", json=request) as response:
                for _ in range(2 * num_chunks):
                    await response.content.readline()
                response.close()
    except TimeoutError:
        pass


async def client(session, url, number, kind, num_chunks):
    match kind:
        case "leave":
            await leave(session, url, body(number), num_chunks)
        case "break":
            _, last = await read(session, url, body(number, seed=int(Fault.NAN)))
            assert json.loads(last)["error"]["code"] == "generation_failed"
        case "refuse":
            async with session.post(f"{url}/v1/completions", json={"model": number}) as response:
                assert response.status == 400
        case _:
            whole = f"[{number}é]".encode()
            expected = (whole * 80)[:80].decode("utf-8", errors="replace")
            assert await read(session, url, body(number)) == (expected, "[DONE]")


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_client_gets_what_it_alone_would_have_got(url, seed):
    choices = random.Random(seed)
    kinds = choices.choices(["read", "leave", "break", "refuse"], [5, 3, 1, 1], k=NUM_CLIENTS)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(
            *(
                client(session, url, number, kind, choices.choice([0, 1, 5]))
                for number, kind in enumerate(kinds)
            )
        )
        async with asyncio.timeout(PATIENCE_S):
            while await num_open(session, url):
                pass  # each look is an HTTP round trip


async def num_open(session, url):
    async with session.get(f"{url}/metrics") as response:
        lines = (await response.text()).splitlines()
    name = "pagelet_engine_open_sequences{"
    return float(next(line for line in lines if line.startswith(name)).split()[-1])


async def test_a_client_that_does_not_read_holds_nobody_up(url):
    async with aiohttp.ClientSession() as session:
        request = body(0, max_tokens=1000)
        async with session.post(f"{url}/v1/completions", json=request):
            for number in range(5):
                await client(session, url, number, "read", 0)
