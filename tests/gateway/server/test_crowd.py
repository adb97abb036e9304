"""Requests that wait in the gateway in front of an engine that has enough: a real gateway."""

import asyncio
import json
import re

from gateway_process import model, post, until
from gateway_upstream import Upstream, Wire, answers
from pagelet_gateway.core.pressure import LATE, SAMPLE

PATH = "/v1/chat/completions"
ASK = {"model": "m"}
TIME_S = 8.0
EXPOSITION = b"vllm:num_requests_waiting 100\nvllm:num_requests_running 1\n"


class Engine:
    """Says that a hundred wait, and answers nobody before it is told to."""

    def __init__(self) -> None:
        self.num_held = 0
        self.go = asyncio.Event()

    async def __call__(self, wire: Wire) -> None:
        if wire.received.path == "/metrics":
            await wire.head(200, content_length=str(len(EXPOSITION)))
            await wire.raw(EXPOSITION)
            return
        self.num_held += 1
        try:
            await self.go.wait()
        finally:
            self.num_held -= 1
        await answers(wire)


async def gauge(session, gateway, name: str) -> float:
    async with session.get(gateway.url + "/metrics") as answer:
        text = await answer.text()
    found = re.search(rf"^pagelet_gateway_{name}{{.*}} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def until_waiting(session, gateway, count: int) -> None:
    async with asyncio.timeout(20):
        while await gauge(session, gateway, "requests_waiting") != count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def asks(session, gateway, count: int, **headers: str) -> list[asyncio.Task]:
    url = gateway.url + PATH
    return [asyncio.create_task(post(session, url, ASK, **headers)) for _ in range(count)]


async def make_late(gateway, session, engine: Engine) -> None:
    """Let so many answers begin late that a limit is set."""
    hurried = asks(session, gateway, SAMPLE, x_request_timeout_ms=str(int(TIME_S * 1000)))
    await until(lambda: engine.num_held == SAMPLE)
    await asyncio.sleep(LATE * TIME_S + 0.1)
    engine.go.set()
    assert {status for status, _, _ in await asyncio.gather(*hurried)} == {200}
    engine.go.clear()


async def test_what_an_engine_could_not_answer_in_time_waits_goes_around_or_hears_so(
    gateway, session
):
    engine = Engine()
    async with Upstream(engine, sees_metrics=True) as upstream, Upstream() as spare:
        gateway.apply(model("m", {"m-1": (100, [upstream.url])}))
        # The queue must be known before the first answer is judged.
        await until(lambda: len(upstream.received) >= 2)
        await make_late(gateway, session, engine)
        limit = int(await gauge(session, gateway, "overload_limit"))
        assert 8 <= limit < SAMPLE

        waiting = asks(session, gateway, limit + 20)
        await until_waiting(session, gateway, 20)
        assert engine.num_held == limit

        hurried = asks(session, gateway, 1, x_request_timeout_ms="3000")
        status, body, headers = await hurried[0]
        assert (status, json.loads(body)["error"]["code"]) == (503, "overloaded")
        assert int(headers["retry-after"]) >= 1

        leaves = asks(session, gateway, 1)[0]
        await until_waiting(session, gateway, 21)
        leaves.cancel()
        await until_waiting(session, gateway, 20)

        gateway.apply(
            model("m", {"m-1": (100, [upstream.url])}, fallback=[{"model": "n"}]),
            model("n", {"n-1": (100, [spare.url])}),
        )
        status, _, headers = await post(session, gateway.url + PATH, ASK)
        assert (status, headers["x-pagelet-fallback"]) == (200, "n")

        engine.go.set()
        assert [status for status, _, _ in await asyncio.gather(*waiting)] == [200] * (limit + 20)
        assert await gauge(session, gateway, "requests_waiting") == 0
    assert gateway.log("bug") == []


async def test_those_in_line_are_served_once_there_is_another_endpoint(gateway, session):
    engine = Engine()
    async with Upstream(engine, sees_metrics=True) as upstream, Upstream() as fresh:
        gateway.apply(model("m", {"m-1": (100, [upstream.url])}))
        await until(lambda: len(upstream.received) >= 2)
        await make_late(gateway, session, engine)
        limit = int(await gauge(session, gateway, "overload_limit"))
        held = asks(session, gateway, limit)
        await until(lambda: engine.num_held == limit)
        waiting = asks(session, gateway, 10)
        await until_waiting(session, gateway, 10)
        gateway.apply(model("m", {"m-1": (100, [upstream.url, fresh.url])}))
        assert [status for status, _, _ in await asyncio.gather(*waiting)] == [200] * 10
        assert len(fresh.received) == 10
        engine.go.set()
        await asyncio.gather(*held)
