import asyncio
import itertools

import pytest

from gateway_faults import fails_with_500, never_begins
from gateway_process import model, post, samples
from gateway_upstream import Upstream, Wire, answers

PATH = "/v1/chat/completions"
RUNS = 300


async def babbles(wire: Wire) -> None:
    await wire.raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


@pytest.mark.parametrize(
    ("script", "status", "outcome"),
    [(babbles, 502, "upstream_error"), (never_begins, 504, "timeout")],
)
async def test_the_answer_says_what_was_met_last(gateway, session, script, status, outcome):
    name = f"m{status}"
    async with Upstream(script) as engine:
        gateway.apply(model(name, {"r": (100, [engine.url])}, requestTimeoutSeconds=0.2))
        assert (await post(session, gateway.url + PATH, {"model": name}))[0] == status
        assert (await samples(session, gateway, "requests_total"))[f"{name}:{outcome}"] == 1
        assert "OpenSSH" not in str(gateway.log("attempt failed"))  # may be what a model wrote


async def test_without_breakers_the_budget_alone_bounds_what_failures_cost(gateway, session):
    """Nine of ten first attempts fail, and every fallback would answer: a tenth get to it."""
    asked = itertools.count()

    async def mostly_fails(wire: Wire) -> None:
        await (fails_with_500 if next(asked) % 10 else answers)(wire)

    never = {"consecutiveErrors": 1000, "errorRatePercent": 100}
    async with Upstream(mostly_fails) as engine, Upstream() as second:
        gateway.apply(
            model(
                "m", {"m-1": (100, [engine.url])}, fallback=[{"model": "n"}], circuitBreaker=never
            ),
            model("n", {"n-1": (100, [second.url])}),
        )
        for _ in range(RUNS // 10):
            asks = [post(session, gateway.url + PATH, {"model": "m"}) for _ in range(10)]
            assert {status for status, _, _ in await asyncio.gather(*asks)} <= {200, 500}
        assert len(engine.received) == RUNS
        fell_back = len(second.received)
        print("attempts per request", 1 + fell_back / RUNS)
        assert 0.1 * RUNS <= fell_back <= 0.1 * RUNS + 5
