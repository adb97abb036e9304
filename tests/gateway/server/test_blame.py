"""What a client's time-outs and an engine's restart do to others: real sockets, a real gateway."""

import asyncio
import itertools
import json
import time

import pytest

from gateway_faults import never_begins
from gateway_process import model, post, until
from gateway_upstream import Upstream, Wire, answers

PATH = "/v1/chat/completions"


async def ask(gateway, session, body, **headers):
    return await post(session, gateway.url + PATH, body, **headers)


def whole_never_ends(but: str):
    """An engine that works for ever on one user's whole answers and serves all others."""

    async def script(wire: Wire) -> None:
        is_long = json.loads(wire.received.body).get("user") == but
        await (never_begins if is_long else answers)(wire)

    return script


async def test_long_whole_answers_that_time_out_shut_the_model_for_nobody(gateway, session):
    async with Upstream(whole_never_ends("greedy")) as engine:
        gateway.apply(model("long", {"l-1": (100, [engine.url])}, requestTimeoutSeconds=1.0))
        greedy = {"model": "long", "user": "greedy"}
        for others in (False, True):
            asks = [asyncio.create_task(ask(gateway, session, greedy)) for _ in range(7)]
            while others and not all(each.done() for each in asks):
                assert (await ask(gateway, session, {"model": "long", "stream": True}))[0] == 200
            ends = [await each for each in asks]
            assert [status for status, *_ in ends] == [504] * 7
            status, body, _ = await ask(gateway, session, {"model": "long"})
            assert status == 200, body


async def test_an_engine_that_stands_still_is_noticed(gateway, session):
    breaker = {"consecutiveErrors": 2, "openForSeconds": 30}
    for name, body in (("whole", {}), ("streamed", {"stream": True})):
        async with Upstream(never_begins) as engine:
            route = {"requestTimeoutSeconds": 0.3, "circuitBreaker": breaker}
            gateway.apply(model(name, {"r-1": (100, [engine.url])}, **route))
            for expected in (504, 504, 503):
                status, said, _ = await ask(gateway, session, {"model": name} | body)
                assert status == expected, said
            assert json.loads(said)["error"]["code"] == "circuit_open"


async def test_the_only_engine_serves_again_as_soon_as_it_is_back(gateway, session):
    async with Upstream(answers) as engine:
        gateway.apply(model("back", {"b-1": (100, [engine.url])}))
        assert (await ask(gateway, session, {"model": "back"}))[0] == 200
        engine.is_draining = True  # its last answers close their connections
        await engine.stop_listening()
        stopped_at = time.monotonic()
        while time.monotonic() < stopped_at + 2.0:
            status, body, headers = await ask(gateway, session, {"model": "back"})
            assert (status, headers["retry-after"]) == (503, "1")
            assert json.loads(body)["error"]["code"] == "no_capacity"
        engine.is_draining = False
        await engine.listen()
        assert (await ask(gateway, session, {"model": "back"}))[0] == 200


class Crashing:
    """Begins every stream and ends none, until it crashes under all of them."""

    def __init__(self) -> None:
        self.num_begun = 0
        self.crash = asyncio.Event()

    async def __call__(self, wire: Wire) -> None:
        await wire.start_stream()
        await wire.token("one ")
        self.num_begun += 1
        await self.crash.wait()
        wire.reset()


@pytest.mark.parametrize("num_others", [0, 1])
async def test_a_crash_that_cuts_many_streams_shuts_no_revision(gateway, session, num_others):
    crashing, steady = Crashing(), Crashing()
    name = f"crash-{num_others}"
    async with Upstream(crashing) as engine, Upstream(steady) as other:
        urls = [engine.url, other.url][: 1 + num_others]
        gateway.apply(
            model(name, {"c-1": (100, urls)}, circuitBreaker={"openForSeconds": 300}),
        )
        body = {"model": name, "stream": True}
        count = 8 * len(urls)
        streams = [asyncio.create_task(ask(gateway, session, body)) for _ in range(count)]
        await until(lambda: crashing.num_begun + steady.num_begun == count)
        assert crashing.num_begun == 8
        crashing.crash.set()
        for done in itertools.islice(asyncio.as_completed(streams), 8):
            status, said, _ = await done
            assert status == 200
            assert b"[DONE]" not in said
        engine.script = other.script = answers  # it is back
        status, said, _ = await ask(gateway, session, {"model": name})
        assert status == 200, said
        steady.crash.set()
        await asyncio.gather(*streams)


async def test_who_waits_for_a_whole_answer_asks_again_within_the_budget_only(gateway, session):
    """Half the time is up for all at once; the budget bounds how many go elsewhere."""
    async with Upstream(never_begins) as slow, Upstream(never_begins) as other:
        gateway.apply(
            model(
                "slow", {"s-1": (100, [slow.url])},
                fallback=[{"model": "other"}], requestTimeoutSeconds=4.0,
            ),
            model("other", {"o-1": (100, [other.url])}),
        )  # fmt: skip
        asks = [asyncio.create_task(ask(gateway, session, {"model": "slow"})) for _ in range(30)]
        await until(lambda: len(slow.received) == 30)
        ends = await asyncio.gather(*asks)
        assert {status for status, *_ in ends} == {504}
        assert 1 <= len(other.received) <= 5 + 30 * 0.1
