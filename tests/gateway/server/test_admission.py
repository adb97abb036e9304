import asyncio
import json

import pytest

from gateway_process import model, post, samples, table, tokens, until
from gateway_tenants import bearer, by_tenant, code, counts, tenant, uses
from gateway_upstream import Upstream, Wire, refuses_to_drain
from pagelet_gateway.core.table_parser import parse
from pagelet_gateway.server.admission import _Named

PATH = "/v1/chat/completions"
RED, BLUE = "red-key-0123456789", "blue-key-0123456789"


def limited(name: str, engine: Upstream, tenants: list[object] | None = None, **limits: int):
    """A model with limits of its own, each test's under another name: accounts start empty."""
    return model(name, {f"{name}-1": (100, [engine.url])}, limits=limits, tenants=tenants)


def chat(name: str, **fields: object) -> dict[str, object]:
    return {"model": name, "messages": [{"role": "user", "content": "hi"}], **fields}


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"max_tokens": 50}, 200),
        ({"max_tokens": 51}, 400),
        ({"max_completion_tokens": 51, "max_tokens": 1}, 400),
        ({"max_completion_tokens": 1, "max_tokens": 51}, 400),
        ({"max_tokens": "51"}, 400),
        ({"max_tokens": 26, "prompt": ["a", "b"]}, 400),
        ({"max_tokens": 26, "n": 2}, 400),
        ({"n": 51}, 400),
        ({}, 200),
    ],
)
async def test_more_output_than_the_cap_never_reaches_an_engine(gateway, session, fields, status):
    async with Upstream(uses(1, 1)) as engine:
        gateway.apply(limited("capped", engine, maxOutputTokens=50))
        found, body, _ = await post(session, gateway.url + PATH, chat("capped", **fields))
        assert found == status
        assert len(engine.received) == (status == 200)
        assert status == 200 or code(body) == "output_cap_exceeded"


@pytest.mark.parametrize(
    ("prompt", "refused"),
    [([1] * 5, None), ([1] * 6, 6), ([[1], [2] * 7], 7), ("a text " * 100, None)],
)
async def test_token_ids_beyond_the_cap_never_reach_an_engine(gateway, session, prompt, refused):
    async with Upstream(uses(1, 1)) as engine:
        gateway.apply(limited("short", engine, maxPromptTokens=5))
        body = {"model": "short", "prompt": prompt}
        status, said, _ = await post(session, gateway.url + "/v1/completions", body)
        assert len(engine.received) == (refused is None)
        if refused is None:
            assert status == 200
            assert engine.received[0].headers["x-pagelet-max-prompt-tokens"] == "5"
        else:
            assert (status, code(said)) == (400, "prompt_too_long")
            assert f"has {refused} tokens; at most 5" in said.decode()


async def test_requests_beyond_a_minutes_quota_are_refused_with_a_time(gateway, session):
    async with Upstream(uses(1, 1)) as engine:
        gateway.apply(limited("rpm", engine, requestsPerMinute=3))
        got = [await post(session, gateway.url + PATH, chat("rpm")) for _ in range(5)]
        assert [status for status, _, _ in got] == [200] * 3 + [429] * 2
        assert code(got[3][1]) == "rate_limit_exceeded"
        assert 1 <= int(got[3][2]["retry-after"]) <= 61
        left = [headers["x-ratelimit-remaining-requests"] for _, _, headers in got]
        assert left == ["2", "1", "0", "0", "0"]
        assert {headers["x-ratelimit-limit-requests"] for _, _, headers in got} == {"3"}
        assert 0 < float(got[4][2]["x-ratelimit-reset-requests"].removesuffix("s")) <= 61
        assert "x-ratelimit-limit-tokens" not in got[0][2]
        rejected = await by_tenant(session, gateway, "rejected_total")
        assert rejected["rpm::rate_limit_exceeded"] == 2


async def test_tokens_are_charged_as_the_engine_counts_them(gateway, session):
    async with Upstream(uses(30, 20)) as engine:
        gateway.apply(limited("tpm", engine, tokensPerMinute=1000))
        for stream in (False, True):
            status, body, headers = await post(
                session, gateway.url + PATH, chat("tpm", stream=stream, max_tokens=900)
            )
            assert (status, headers["x-ratelimit-limit-tokens"]) == (200, "1000")
            assert b"pagelet-usage" not in body
            assert not stream or tokens(body) == "word "
            await samples(session, gateway, "requests_total")
        charged = await by_tenant(session, gateway, "tokens_total")
        assert charged["tpm:"] == 100
        status, body, headers = await post(session, gateway.url + PATH, chat("tpm", max_tokens=895))
        assert (status, code(body)) == (429, "token_rate_limit_exceeded")
        assert headers["x-ratelimit-remaining-tokens"] == "900"


async def test_a_stream_with_usage_is_charged_once(gateway, session):
    async def script(wire: Wire) -> None:
        last = {"choices": [], "usage": counts(7, 5)}
        await wire.start_stream()
        await wire.token("a")
        await wire.part(b"data: " + json.dumps(last).encode() + b"\n\ndata: [DONE]\n\n")
        await wire.end_stream(done=False)

    async with Upstream(script) as engine:
        gateway.apply(limited("user-usage", engine, tokensPerMinute=1000))
        await post(session, gateway.url + PATH, chat("user-usage", stream=True))
        await samples(session, gateway, "requests_total")
        assert (await by_tenant(session, gateway, "tokens_total"))["user-usage:"] == 12


async def test_places_come_back_however_a_request_ends(gateway, session):
    async def halts(wire: Wire) -> None:
        await wire.start_stream()
        for _ in range(3):
            await wire.token("a ")
        await asyncio.sleep(60)

    async def dies(wire: Wire) -> None:
        await wire.start_stream()
        await wire.token("a ")
        wire.reset()

    async def refuses(wire: Wire) -> None:
        await wire.reply(400, {"error": {"message": "no", "code": "no"}})

    async def fails(wire: Wire) -> None:
        await wire.reply(500, {"error": {"message": "no", "code": "no"}})

    ends = (halts, dies, refuses, fails, refuses_to_drain, uses(1, 1))
    async with Upstream(halts) as engine:
        gateway.apply(
            limited("places", engine, maxConcurrentRequests=1) | {"requestTimeoutSeconds": 30}
        )
        for script in ends:
            engine.script = script
            ask = asyncio.create_task(
                post(session, gateway.url + PATH, chat("places", stream=True))
            )
            if script is halts:
                await until(lambda: engine.num_open == 1)
                status, body, headers = await post(session, gateway.url + PATH, chat("places"))
                assert (status, code(body)) == (429, "too_many_concurrent_requests")
                assert headers["retry-after"] == "1"
                ask.cancel()
            await asyncio.gather(ask, return_exceptions=True)
            await samples(session, gateway, "requests_total")
            assert (await by_tenant(session, gateway, "requests_in_flight"))["places:"] == 0
        engine.script = uses(1, 1)
        status, _, _ = await post(session, gateway.url + PATH, chat("places"))
        assert status == 200


async def test_what_ends_early_is_charged_for_what_was_produced(gateway, session):
    async def halts(wire: Wire) -> None:
        await wire.start_stream()
        for _ in range(10):
            await wire.token("a ")
        await asyncio.sleep(60)

    async def halts_and_tells(wire: Wire) -> None:
        await wire.start_stream()
        await wire.part(b': pagelet-usage {"usage":{"prompt_tokens":7,"completion_tokens":0}}\n\n')
        for _ in range(10):
            await wire.token("a ")
        await asyncio.sleep(60)

    async def charged(name: str) -> int:
        await samples(session, gateway, "requests_total")
        return (await by_tenant(session, gateway, "tokens_total"))[f"{name}:"]

    prompt = "x" * 400
    message = [{"role": "user", "content": prompt}]
    async with Upstream(halts) as engine:
        gateway.apply(*(limited(name, engine) for name in ("left", "told", "refused")))
        for name, script, least, most in (
            ("left", halts, 100, 120),
            ("told", halts_and_tells, 7, 7),
        ):
            engine.script = script
            async with session.post(
                gateway.url + PATH, json={"model": name, "stream": True, "messages": message}
            ) as answer:
                read = b""
                while read.count(b"data:") < 10:
                    read += await answer.content.readany()
            assert b"pagelet-usage" not in read
            assert least + 10 <= await charged(name) <= most + 10
        engine.script = refuses_to_drain
        status, _, _ = await post(session, gateway.url + PATH, chat("refused"))
        assert (status, await charged("refused")) == (503, 0)


async def test_tenants_do_not_use_up_each_others_quota_but_the_models(gateway, session):
    who = [
        tenant("red", RED, requestsPerMinute=2),
        tenant("blue", BLUE, requestsPerMinute=50),
    ]
    async with Upstream(uses(1, 1)) as engine:
        gateway.apply(limited("both", engine, who, requestsPerMinute=5))
        url = gateway.url + PATH
        red = [await post(session, url, chat("both"), **bearer(RED)) for _ in range(4)]
        assert [status for status, _, _ in red] == [200, 200, 429, 429]
        blue = [await post(session, url, chat("both"), **bearer(BLUE)) for _ in range(4)]
        assert [status for status, _, _ in blue] == [200, 200, 200, 429]
        assert b"The model 'both' has room for 5" in blue[3][1]
        # Nobody is told how much of the model's quota the others use.
        assert blue[3][2]["x-ratelimit-limit-requests"] == "50"
        assert blue[3][2]["x-ratelimit-remaining-requests"] == "47"
        rejected = await by_tenant(session, gateway, "rejected_total")
        assert rejected["both:red:rate_limit_exceeded"] == 2
        assert rejected["both:blue:rate_limit_exceeded"] == 1


async def test_a_canary_that_had_its_fill_passes_requests_on_to_stable(gateway, session):
    async with Upstream(uses(1, 1)) as stable, Upstream(uses(1, 1)) as canary:
        route = model("fill", {"f-1": (50, [stable.url]), "f-2": (50, [canary.url])})
        route["revisions"][1]["requestsPerMinute"] = 3
        route["routing"] = {"stickiness": "None"}
        gateway.apply(route)
        got = [await post(session, gateway.url + PATH, chat("fill")) for _ in range(20)]
        assert {status for status, _, _ in got} == {200}
        assert (len(stable.received), len(canary.received)) == (17, 3)


async def test_a_tenant_that_left_the_table_leaves_the_metrics(gateway, session):
    async with Upstream(uses(1, 1)) as engine:
        who = [tenant("red", RED), tenant("blue", BLUE)]
        gateway.apply(limited("gone", engine, who))
        for key in (RED, BLUE):
            await post(session, gateway.url + PATH, chat("gone"), **bearer(key))
        await samples(session, gateway, "requests_total")
        gateway.apply(limited("gone", engine, who[:1]))
        await post(session, gateway.url + PATH, chat("gone"), **bearer(RED))
        assert {
            key for key in await by_tenant(session, gateway, "tokens_total") if "gone" in key
        } == {"gone:red"}


async def test_a_model_that_comes_back_finds_its_quota_as_it_was(gateway, session):
    async with Upstream(uses(1, 1)) as engine:
        route, other = limited("flaps", engine, requestsPerMinute=1), limited("other", engine)
        statuses = []
        for models in ([route], [other], [route]):
            gateway.apply(*models)
            name = models[0]["name"]
            statuses.append((await post(session, gateway.url + PATH, chat(name)))[0])
        assert statuses == [200, 200, 429]


async def test_what_generates_nothing_is_charged_no_tokens(gateway, session):
    async with Upstream(uses(5, 5)) as engine:
        gateway.apply(limited("words", engine, tokensPerMinute=10, requestsPerMinute=100))
        for _ in range(3):
            status, _, _ = await post(
                session, gateway.url + "/tokenize", {"model": "words", "prompt": "x" * 1000}
            )
            assert status == 200
        await samples(session, gateway, "requests_total")
        assert (await by_tenant(session, gateway, "tokens_total"))["words:"] == 0


async def test_a_tester_who_named_a_canary_is_refused_with_it(gateway, session):
    async with Upstream(uses(1, 1)) as stable, Upstream(uses(1, 1)) as canary:
        route = model("named", {"n-1": (100, [stable.url]), "n-2": (0, [canary.url])})
        route["revisions"][1]["requestsPerMinute"] = 1
        route["tenants"] = [tenant("tester", RED, mayChooseRevision=True)]
        gateway.apply(route)
        wish = {**bearer(RED), "x_pagelet_revision": "n-2"}
        got = [await post(session, gateway.url + PATH, chat("named"), **wish) for _ in range(2)]
        assert [status for status, _, _ in got] == [200, 429]
        assert b"This revision has room for 1 requests per minute" in got[1][1]
        assert stable.received == []


@pytest.mark.parametrize(
    ("name", "is_stream", "least", "most"),
    [("left-whole", False, 700, 800), ("left-stream", True, 100, 130)],
)
async def test_who_leaves_before_the_first_byte_pays_what_may_have_been_made(
    gateway, session, name, is_stream, least, most
):
    async def thinks(wire: Wire) -> None:
        await asyncio.sleep(60)

    body = chat(name, max_tokens=600, stream=is_stream)
    body["messages"] = [{"role": "user", "content": "x" * 400}]
    async with Upstream(thinks) as engine:
        gateway.apply(limited(name, engine, tokensPerMinute=10_000))
        ask = asyncio.create_task(post(session, gateway.url + PATH, body))
        await until(lambda: engine.num_open == 1)
        ask.cancel()
        await samples(session, gateway, "requests_total")
        charged = (await by_tenant(session, gateway, "tokens_total"))[f"{name}:"]
        assert least <= charged <= most


async def test_what_an_engine_refuses_costs_a_request_and_no_tokens(gateway, session):
    async def refuses(wire: Wire) -> None:
        await wire.reply(400, {"error": {"message": "no", "code": "no"}})

    async with Upstream(refuses) as engine:
        gateway.apply(limited("refuses", engine, tokensPerMinute=1000, requestsPerMinute=5))
        status, _, _ = await post(session, gateway.url + PATH, chat("refuses"))
        assert status == 400
        await samples(session, gateway, "requests_total")
        assert (await by_tenant(session, gateway, "tokens_total"))["refuses:"] == 0
        _, _, headers = await post(session, gateway.url + PATH, chat("refuses"))
        assert headers["x-ratelimit-remaining-requests"] == "3"
        assert "x-ratelimit-limit-tokens" in headers


@pytest.mark.parametrize(
    ("key", "is_named"),
    [
        (("model", "m"), True),
        (("model", "other"), False),
        (("tenant", "m", "red"), True),
        (("tenant", "m", "m-1"), False),
        (("tenant", "other", "red"), False),
        (("revision", "m", "m-1"), True),
        (("revision", "m", "red"), False),
    ],
)
def test_a_table_names_its_scopes(key, is_named):
    named = model("m", {"m-1": (100, [])}, tenants=[tenant("red", RED)])
    assert (key in _Named(parse(table(named)))) == is_named
