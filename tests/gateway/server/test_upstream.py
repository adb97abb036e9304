"""Connections to engines that were idle for too long: a real gateway, real sockets."""

import asyncio

import pytest

from gateway_process import model, post, samples
from gateway_upstream import Upstream, Wire, answers

PATH = "/v1/chat/completions"
COUNT = 30
"""Far more than the retry budget has for as many requests."""


class ClosesIdle:
    """Answers the first request of each connection; the next one meets what `end` does."""

    def __init__(self, end) -> None:
        self.end = end
        self.known = set()
        self.num_met = 0

    async def __call__(self, wire: Wire) -> None:
        if wire._writer not in self.known:
            self.known.add(wire._writer)
            await answers(wire)
            return
        self.num_met += 1
        await self.end(wire)
        wire.reset()


async def at_once(wire: Wire) -> None:
    """Close without a word."""


async def after_a_while(wire: Wire) -> None:
    await asyncio.sleep(1.5)


async def after_a_word(wire: Wire) -> None:
    await wire.raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n")
    await asyncio.sleep(0.05)


async def ask(gateway, session, name: str) -> int:
    return (await post(session, gateway.url + PATH, {"model": name}))[0]


@pytest.mark.parametrize("size", [10, 2_000_000])
async def test_a_connection_that_was_closed_while_idle_costs_no_retry(gateway, session, size):
    engine = ClosesIdle(at_once)
    name = f"idle-{size}"
    async with Upstream(engine) as upstream:
        gateway.apply(model(name, {"i-1": (100, [upstream.url])}))
        body = {"model": name, "pad": "x" * size}
        for _ in range(COUNT if size == 10 else 3):
            status, said, _ = await post(session, gateway.url + PATH, body)
            assert status == 200, said
        counts = await samples(session, gateway, "retries_total")
        assert counts[f"{name}:stale_connection"] == engine.num_met > 0
        assert counts[f"{name}:reset"] == 0
        bodies = {len(received.body) for received in upstream.received}
        assert len(bodies) == 1, "sent again in part"


@pytest.mark.parametrize("end", [after_a_while, after_a_word])
async def test_what_the_engine_may_have_begun_draws_on_the_budget(gateway, session, end):
    engine = ClosesIdle(end)
    async with Upstream(engine) as upstream:
        gateway.apply(model(end.__name__, {"b-1": (100, [upstream.url])}))
        for _ in range(20):  # a question about the load may have the idle connection just now
            assert await ask(gateway, session, end.__name__) == 200
            if engine.num_met:
                break
        counts = await samples(session, gateway, "retries_total")
        assert counts[f"{end.__name__}:reset"] == engine.num_met == 1
        assert counts[f"{end.__name__}:stale_connection"] == 0
