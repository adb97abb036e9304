import asyncio
import json
import time

from gateway_process import model, post, samples, tokens, until
from gateway_upstream import Upstream, Wire, answers, resets, streams
from pagelet_gateway.core.mirror import MAX_COPIES

PATH = "/v1/chat/completions"


def mirrored(name, stable, canary, percent=100, weight=0, **fields):
    revisions = {
        f"{name}-s": (100 - weight, [stable.url]),
        f"{name}-c": (weight, [canary.url]),
    }
    return model(
        name, revisions, routing={"mirrorPercent": percent, "stickiness": "None"}, **fields
    )


async def copies(session, gateway, name):
    found = await samples(session, gateway, "mirrored_total")
    return {key.partition(":")[2]: n for key, n in found.items() if key.startswith(f"{name}:")}


async def settled(session, gateway, name, total):
    """How all of so many copies ended."""
    async with asyncio.timeout(20):
        while sum((await copies(session, gateway, name)).values()) < total:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return await copies(session, gateway, name)


async def test_a_share_of_stables_requests_reaches_the_canary_marked(gateway, session):
    async with Upstream() as stable, Upstream() as canary:
        gateway.apply(mirrored("share", stable, canary, percent=30))
        body = {"model": "share", "messages": [{"role": "user", "content": "hello"}]}
        for index in range(20):
            sent = body | {"stream": index % 2 == 0}
            status, _, headers = await post(session, gateway.url + PATH, sent)
            assert (status, headers["x-pagelet-revision"]) == (200, "share-s")
        assert await settled(session, gateway, "share", 6) == {"ok": 6}
        assert len(canary.received) == 6
        assert {r.headers["x-pagelet-mirror"] for r in canary.received} == {"1"}
        assert {json.loads(r.body)["messages"][0]["content"] for r in canary.received} == {"hello"}
        assert not any("x-pagelet-mirror" in r.headers for r in stable.received)
        ended = await samples(session, gateway, "requests_total")
        assert ended["share:ok"] == 20, "copies are no requests of users"


async def test_the_canarys_own_requests_are_not_copied(gateway, session):
    async with Upstream() as stable, Upstream() as canary:
        gateway.apply(mirrored("own", stable, canary, weight=100))
        for _ in range(5):
            await post(session, gateway.url + PATH, {"model": "own"})
        assert len(canary.received) == 5
        assert await copies(session, gateway, "own") == {}


async def test_no_user_notices_a_canary_that_hangs_fails_or_dies(gateway, session):
    async def hangs(wire: Wire) -> None:
        await asyncio.sleep(60)

    async def fails(wire: Wire) -> None:
        await wire.reply(500, {"error": {}})

    async def breaks(wire: Wire) -> None:
        await wire.start_stream()
        await wire.token("half")
        wire.reset()

    scripts = {"hangs": hangs, "fails": fails, "breaks": breaks, "resets": resets}
    for name, script in scripts.items():
        async with Upstream(streams("a", "b")) as stable, Upstream(script) as canary:
            gateway.apply(mirrored(name, stable, canary, requestTimeoutSeconds=2.0))
            started = time.monotonic()
            for _ in range(5):
                body = {"model": name, "stream": True}
                status, answer, _ = await post(session, gateway.url + PATH, body)
                assert (status, tokens(answer)) == (200, "ab")
            assert time.monotonic() - started < 2.0, "no user waited for a copy"
            ends = await settled(session, gateway, name, 5)
            assert ends == {"timeout" if name == "hangs" else "failed": 5}
            assert (await samples(session, gateway, "requests_total"))[f"{name}:ok"] == 5


async def test_copies_in_flight_are_bounded_and_the_rest_is_not_sent(gateway, session):
    async def hangs(wire: Wire) -> None:
        await asyncio.sleep(60)

    async with Upstream() as stable, Upstream(hangs) as canary:
        gateway.apply(mirrored("full", stable, canary, requestTimeoutSeconds=5.0))
        for _ in range(MAX_COPIES + 4):
            await post(session, gateway.url + PATH, {"model": "full"})
        await until(lambda: canary.num_open == MAX_COPIES)
        assert await copies(session, gateway, "full") == {"busy": 4}
        assert len(canary.received) == MAX_COPIES


async def test_copies_keep_to_the_canarys_quota(gateway, session):
    async with Upstream() as stable, Upstream(answers) as canary:
        raw = mirrored("quota", stable, canary)
        raw["revisions"][1]["requestsPerMinute"] = 3
        gateway.apply(raw)
        for _ in range(8):
            status, _, _ = await post(session, gateway.url + PATH, {"model": "quota"})
            assert status == 200
        assert await settled(session, gateway, "quota", 8) == {"ok": 3, "quota": 5}
        assert len(canary.received) == 3
