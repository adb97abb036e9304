import asyncio
import json
from collections import Counter

from gateway_process import model, post, samples, tokens, until
from gateway_upstream import Upstream, Wire, streams

PATH = "/v1/chat/completions"
ASK = {"model": "m", "stream": True}


async def test_without_a_conversation_the_split_is_exact(gateway, session):
    async with Upstream() as stable, Upstream() as canary:
        gateway.apply(model("m", {"m-1": (87, [stable.url]), "m-2": (13, [canary.url])}))
        revisions = Counter()
        for _ in range(2):
            answers = await asyncio.gather(
                *(post(session, gateway.url + PATH, {"model": "m"}) for _ in range(100))
            )
            revisions += Counter(headers["x-pagelet-revision"] for _, _, headers in answers)
        assert revisions == {"m-1": 174, "m-2": 26}
        assert (len(stable.received), len(canary.received)) == (174, 26)


async def test_a_conversation_stays_where_it_is(gateway, session):
    async with Upstream() as stable, Upstream() as canary:
        gateway.apply(model("m", {"m-1": (50, [stable.url]), "m-2": (50, [canary.url])}))
        seen = {}
        for turn in range(3):
            for number in range(12):
                key = f"conversation-{number}"
                body = {"model": "m", "user": key if turn else "somebody else"}
                headers = {} if turn else {"x_pagelet_conversation": key}
                _, _, answered = await post(session, gateway.url + PATH, body, **headers)
                revision = answered["x-pagelet-revision"]
                assert seen.setdefault(key, revision) == revision
        assert set(seen.values()) == {"m-1", "m-2"}


async def test_the_least_busy_endpoint_is_asked(gateway, session):
    async with Upstream(streams("a", pause_s=0.5)) as one, Upstream(streams("a")) as two:
        gateway.apply(model("m", {"m-1": (100, [one.url, two.url])}))
        busy = [asyncio.create_task(post(session, gateway.url + PATH, ASK)) for _ in range(8)]
        await until(lambda: one.num_open == 4 and not two.num_open)
        for _ in range(4):
            await post(session, gateway.url + PATH, ASK)
        assert (len(one.received), len(two.received)) == (4, 8)
        await asyncio.gather(*busy)


async def test_a_client_that_leaves_frees_its_engine_at_once(gateway, session):
    async def stalls(wire: Wire) -> None:
        await wire.start_stream()
        await wire.token("a")
        await asyncio.sleep(60)

    async def thinks(wire: Wire) -> None:
        await asyncio.sleep(60)

    for name, script in (("streaming", stalls), ("thinking", thinks)):
        async with Upstream(script) as engine:
            gateway.apply(model(name, {f"{name}-1": (100, [engine.url])}))
            ask = asyncio.create_task(
                post(session, gateway.url + PATH, {"model": name, "stream": True})
            )
            await until(lambda engine=engine: bool(engine.received))
            await asyncio.sleep(0.1)
            ask.cancel()
            async with asyncio.timeout(5):
                await engine.abandoned.wait()
            ended = await samples(session, gateway, "requests_total")
            assert ended[f"{name}:client_gone"] == 1
            assert (await samples(session, gateway, "requests_in_flight"))[f"{name}:"] == 0


async def test_two_hundred_streams_at_once_are_all_whole(gateway, session):
    words = [f"{i} " for i in range(20)]
    async with Upstream(streams(*words, pause_s=0.02)) as engine:
        gateway.apply(model("m", {"m-1": (100, [engine.url])}))
        answers = await asyncio.gather(
            *(post(session, gateway.url + PATH, ASK) for _ in range(200))
        )
        assert {tokens(body) for _, body, _ in answers} == {"".join(words)}


async def test_time_up_before_the_first_byte_is_504(gateway, session):
    async def thinks(wire: Wire) -> None:
        await asyncio.sleep(60)

    async with Upstream(thinks) as engine:
        gateway.apply(model("slow", {"slow-1": (100, [engine.url])}, requestTimeoutSeconds=0.3))
        status, body, _ = await post(session, gateway.url + PATH, {"model": "slow"})
        assert status == 504
        assert json.loads(body)["error"]["code"] == "upstream_timeout"
        assert int(engine.received[0].headers["x-pagelet-deadline-ms"]) in range(1, 301)
        async with asyncio.timeout(5):
            await engine.abandoned.wait()
        assert (await samples(session, gateway, "timeouts_total"))["slow:first_byte"] == 1


async def test_time_up_in_a_stream_ends_it_with_an_error_event(gateway, session):
    async def drips(wire: Wire) -> None:
        await wire.start_stream()
        for _ in range(1000):
            await wire.token("drip ")
            await asyncio.sleep(0.05)

    async with Upstream(drips) as engine:
        gateway.apply(model("drip", {"drip-1": (100, [engine.url])}, requestTimeoutSeconds=0.4))
        status, body, _ = await post(session, gateway.url + PATH, {"model": "drip", "stream": True})
        assert status == 200
        assert b"drip" in body
        assert b"[DONE]" not in body
        assert json.loads(body.strip().split(b"data: ")[-1])["error"]["code"] == "stream_timeout"
        async with asyncio.timeout(5):
            await engine.abandoned.wait()
        assert (await samples(session, gateway, "timeouts_total"))["drip:stream"] == 1
        assert (await samples(session, gateway, "requests_total"))["drip:timeout"] == 1


async def test_latencies_are_counted_per_revision(gateway, session):
    async with Upstream(streams("a", "b", "c", "d", pause_s=0.03)) as engine:
        gateway.apply(model("timed", {"timed-1": (100, [engine.url])}))
        await post(session, gateway.url + PATH, {"model": "timed", "stream": True})
        seen = {
            name: (await samples(session, gateway, f"{name}_seconds_count"))["timed:"]
            for name in (
                "time_to_first_token",
                "inter_token_latency",
                "e2e_request_duration",
            )
        }
        assert seen == {
            "time_to_first_token": 1,
            "inter_token_latency": 3,
            "e2e_request_duration": 1,
        }
        spent_s = await samples(session, gateway, "inter_token_latency_seconds_sum")
        assert spent_s["timed:"] >= 0.08
