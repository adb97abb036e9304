"""A request keeps its body and all it has said; both must go when it ends, not at a collection
of garbage, whose pauses every stream would share."""

import asyncio
import contextlib
import gc
from collections.abc import Iterator

import aiohttp
import pytest

from gateway_in_process import gateway_in_process
from gateway_process import WAIT_S, model, post
from gateway_upstream import Upstream, Wire, answers, streams
from pagelet_gateway.server.call import Call
from pagelet_gateway.server.exchange import Exchange
from pagelet_gateway.server.upstream import Answer

PATH = "/v1/chat/completions"


async def breaks(wire: Wire) -> None:
    await wire.start_stream()
    await wire.token("a")
    wire.reset()


async def refuses(wire: Wire) -> None:
    await wire.reply(500, {"error": {"message": "no"}})


@pytest.fixture
def without_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> list[object]:
    return [each for each in gc.get_objects() if type(each) in (Call, Exchange, Answer)]


async def nobody_is_left(num_before: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while len(alive()) > num_before:  # noqa: ASYNC110 - the client hears of the end first
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("without_collections")
async def test_a_request_that_ended_is_gone_without_a_collection(tmp_path):
    scripts = {
        "streams": streams("x ", "y"),
        "answers": answers,
        "breaks": breaks,
        "refuses": refuses,
    }
    async with contextlib.AsyncExitStack() as stack:
        engines = {
            name: await stack.enter_async_context(Upstream(script))
            for name, script in scripts.items()
        }
        models = [model(name, {"r": (100, [engine.url])}) for name, engine in engines.items()]
        models.append(model("nobody", {"r": (100, ["http://127.0.0.1:1"])}))
        url = await stack.enter_async_context(gateway_in_process(tmp_path, *models))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        num_before = len(alive())
        for name in (*scripts, "nobody"):
            for _ in range(2):
                await post(session, url + PATH, {"model": name, "stream": name != "answers"})
            await nobody_is_left(num_before)
