import asyncio
import json

import aiohttp
from hypothesis import given
from hypothesis import strategies as st

from gateway_in_process import gateway_in_process
from gateway_process import model, post, until
from gateway_upstream import Upstream
from pagelet_gateway.server import proxy
from pagelet_gateway.server.body_memory import BodyMemory

PATH = "/v1/chat/completions"


@given(st.lists(st.lists(st.integers(0, 60), max_size=5), max_size=6))
def test_what_is_held_never_exceeds_the_limit_and_all_comes_back(requests):
    memory, open_requests = BodyMemory(100), []
    for parts in requests:
        request = memory.request()
        take = request.__enter__()
        open_requests.append(request)
        for size in parts:
            before = memory.num_held
            assert take(size) == (before + size <= 100)
            assert memory.num_held <= 100
    for request in open_requests:
        request.__exit__(None, None, None)
    assert memory.num_held == 0


async def test_bodies_beyond_the_limit_are_told_to_come_back(tmp_path, monkeypatch):
    memory = BodyMemory(100_000)
    monkeypatch.setattr(proxy, "BodyMemory", lambda most: memory)
    async with Upstream() as engine:
        table = model("m", {"m-1": (100, [engine.url])})
        async with (
            gateway_in_process(tmp_path, table) as url,
            aiohttp.ClientSession() as session,
        ):
            gate = asyncio.Event()

            async def begun_body():
                yield b'{"model": "m", "pad": "' + b"x" * 60_000
                await gate.wait()
                yield b'"}'

            slow = asyncio.create_task(session.post(url + PATH, data=begun_body()))
            small, big = {"model": "m"}, {"model": "m", "pad": "x" * 90_000}
            await until(lambda: memory.num_held > 60_000)
            status, body, headers = await post(session, url + PATH, big)
            assert (status, json.loads(body)["error"]["code"]) == (503, "body_memory_full")
            assert headers["retry-after"] == "1"
            assert (await post(session, url + PATH, small))[0] == 200
            gate.set()
            async with await slow as answer:
                assert answer.status == 200
                await answer.read()
            await until(lambda: memory.num_held == 0)
            assert (await post(session, url + PATH, big))[0] == 200
