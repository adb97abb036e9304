"""Where requests go when the model they ask for cannot answer: real sockets, a real gateway."""

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from gateway_faults import fails_with_500, is_overloaded, never_begins
from gateway_process import model, post, samples, tokens, until
from gateway_upstream import Upstream, Wire, answers, refuses_to_drain, resets

PATH = "/v1/chat/completions"
ASK = {"model": "m", "stream": True}
TEXT = "one two three four five"
DOWN = "http://127.0.0.1:1"


async def ask(gateway, session, body=ASK, **headers):
    return await post(session, gateway.url + PATH, body, **headers)


async def test_canary_then_stable_then_another_model_then_elsewhere(gateway, session):
    async with AsyncExitStack() as stack:
        stable, second, api = [await stack.enter_async_context(Upstream()) for _ in range(3)]
        for left, expected in (
            ({"s": stable, "n": second, "x": api}, ("m-1", None)),
            ({"n": second, "x": api}, ("n-1", "n")),
            ({"x": api}, (None, "big")),
        ):
            url = {name: engine.url for name, engine in left.items()}
            gateway.apply(
                model(
                    "m",
                    {"m-1": (50, [url.get("s", DOWN)]), "m-2": (50, [DOWN])},
                    fallback=[
                        {"model": "n"},
                        {"url": f"{url['x']}/v1", "urlModel": "big"},
                    ],
                ),
                model("n", {"n-1": (100, [url.get("n", DOWN)])}),
            )
            for _ in range(4):
                status, body, headers = await ask(gateway, session)
                assert status == 200
                assert tokens(body) == TEXT
                found = (headers.get("x-pagelet-revision"), headers.get("x-pagelet-fallback"))
                assert found == expected
        assert json.loads(api.received[0].body) == {"model": "big", "stream": True}
        counts = await samples(session, gateway, "fallbacks_total")
        assert counts["m:refused"] + counts["m:unavailable"] >= 8


@pytest.mark.parametrize("status", [400, 404, 413, 422, 429])
async def test_what_the_client_got_wrong_is_not_tried_elsewhere(gateway, session, status):
    async def refuses(wire: Wire) -> None:
        await wire.reply(status, {"error": {"message": "no", "code": "c"}})

    async with Upstream(refuses) as engine, Upstream() as second:
        gateway.apply(
            model("m", {"m-1": (100, [engine.url])}, fallback=[{"model": "n"}]),
            model("n", {"n-1": (100, [second.url])}),
        )
        for _ in range(7):
            assert (await ask(gateway, session))[0] == status
        assert (len(engine.received), len(second.received)) == (7, 0)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
async def test_what_an_api_elsewhere_refuses_us_is_not_the_clients_answer(gateway, session, status):
    async def refuses(wire: Wire) -> None:
        await wire.reply(status, {"error": {"message": "key sk-123 is wrong", "code": "theirs"}})

    async with Upstream(refuses) as api:
        link = {"url": f"{api.url}/v1", "urlModel": "big", "apiKey": "sk-123"}
        gateway.apply(model("m", {"m-1": (100, [DOWN])}, fallback=[link]))
        answered, body, _ = await ask(gateway, session)
        assert answered == 503
        assert json.loads(body)["error"]["code"] == "no_capacity"
        assert b"sk-123" not in body
        assert len(api.received) == 1


async def test_an_engines_own_error_is_told_when_no_fallback_does_better(gateway, session):
    async with Upstream(fails_with_500) as engine, Upstream(resets) as second:
        gateway.apply(
            model("m", {"m-1": (100, [engine.url])}, fallback=[{"model": "n"}]),
            model("n", {"n-1": (100, [second.url])}),
        )
        status, body, headers = await ask(gateway, session)
        assert (status, json.loads(body)["error"]["code"]) == (500, "internal_error")
        assert headers["x-pagelet-revision"] == "m-1"
        assert "x-pagelet-fallback" not in headers
        assert (await samples(session, gateway, "requests_in_flight"))["m:"] == 0


async def test_overload_goes_to_the_fallback_and_opens_no_circuit(gateway, session):
    async with Upstream(is_overloaded) as engine, Upstream() as second:
        gateway.apply(
            model("m", {"m-1": (100, [engine.url])}, fallback=[{"model": "n"}]),
            model("n", {"n-1": (100, [second.url])}),
        )
        for _ in range(20):
            assert (await ask(gateway, session))[0] == 200
        asked = len(engine.received)
        assert 1 <= asked <= 6  # left alone for a second after each refusal
        engine.script = answers
        async with asyncio.timeout(20):
            while len(engine.received) == asked:
                assert (await ask(gateway, session))[0] == 200
        assert "x-pagelet-fallback" not in (await ask(gateway, session))[2]


async def test_an_engine_that_drains_is_waited_for_only_without_a_fallback(gateway, session):
    async with Upstream(refuses_to_drain) as engine, Upstream() as second:
        gateway.apply(
            model("m", {"m-1": (100, [engine.url])}, fallback=[{"model": "n"}]),
            model("n", {"n-1": (100, [second.url])}),
        )
        assert (await ask(gateway, session))[2]["x-pagelet-fallback"] == "n"


async def test_a_fallback_has_what_is_left_of_the_time(gateway, session):
    async with Upstream(never_begins) as engine, Upstream(never_begins) as second:
        gateway.apply(
            model(
                "m",
                {"m-1": (100, [engine.url])},
                fallback=[{"model": "n"}],
                requestTimeoutSeconds=30,
            ),
            model("n", {"n-1": (100, [second.url])}),
        )
        status, body, _ = await ask(gateway, session, x_request_timeout_ms="1000")
        assert (status, json.loads(body)["error"]["code"]) == (504, "upstream_timeout")
        first_ms = int(engine.received[0].headers["x-pagelet-deadline-ms"])
        second_ms = int(second.received[0].headers["x-pagelet-deadline-ms"])
        assert first_ms <= 1000
        assert 1 <= second_ms <= 500


async def test_a_time_limit_that_is_none_is_refused(gateway, session):
    async with Upstream() as engine:
        gateway.apply(model("m", {"m-1": (100, [engine.url])}))
        status, body, _ = await ask(gateway, session, x_request_timeout_ms="soon")
        assert (status, json.loads(body)["error"]["param"]) == (400, "x-request-timeout-ms")
        assert engine.received == []


async def test_a_loop_of_models_hides_no_cause_and_tells_a_client_no_names(gateway, session):
    gateway.apply(
        model("a", {"a-1": (100, [DOWN])}, fallback=[{"model": "b"}]),
        model("b", {"b-1": (100, [DOWN])}, fallback=[{"model": "a"}]),
    )
    status, body, headers = await ask(gateway, session, {"model": "a"})
    error = json.loads(body)["error"]
    assert (status, error["code"], headers["retry-after"]) == (503, "no_capacity", "1")
    assert "No engine of model 'a' takes requests" in error["message"]
    assert "fallbacks lead back to each other" in error["message"]
    assert "'b'" not in error["message"]
    assert gateway.log("fallbacks form a loop")[-1]["loop"] == "b → a → b"
    gateway.apply(model("a", {"a-1": (0, [])}, fallback=[{"model": "a"}]))
    status, body, _ = await ask(gateway, session, {"model": "a"})
    error = json.loads(body)["error"]
    assert (status, error["code"]) == (503, "no_capacity")
    assert "none of its revisions serves" in error["message"]


async def test_a_loop_over_gateways_ends(gateway, session):
    api = {"url": f"{gateway.url}/v1", "urlModel": "m"}
    gateway.apply(model("m", {"m-1": (100, [DOWN])}, fallback=[api]))
    started = (await samples(session, gateway, "rejected_total"))[":fallback_loop"]
    fell_back = (await samples(session, gateway, "fallbacks_total")).total()
    status, body, _ = await ask(gateway, session)
    assert status in (500, 503, 508), body
    assert (await samples(session, gateway, "rejected_total"))[":fallback_loop"] == started + 1
    assert (await samples(session, gateway, "fallbacks_total")).total() <= fell_back + 3
    for header in ("3", "17"):
        status, body, _ = await ask(gateway, session, x_pagelet_hops=header)
        assert (status, json.loads(body)["error"]["code"]) == (508, "fallback_loop")


@pytest.mark.parametrize("header", ["-1", "x", "", "100", "x" * 5000])
async def test_hops_that_no_gateway_writes_are_the_clients_error(gateway, session, header):
    gateway.apply(model("m", {"m-1": (100, [DOWN])}))
    status, body, _ = await ask(gateway, session, x_pagelet_hops=header)
    error = json.loads(body)["error"]
    assert (status, error["code"]) == (400, "invalid_value")
    assert f"The header x-pagelet-hops is '{header[:40]}', which is no number" in error["message"]


async def test_what_a_fallback_could_not_take_is_not_sent_there(gateway, session):
    async with Upstream() as second:
        gateway.apply(
            model(
                "m",
                {"m-1": (100, [DOWN])},
                fallback=[{"model": "n"}, {"url": "http://127.0.0.1:1/v1", "urlModel": "big"}],
            ),
            model("n", {"n-1": (100, [second.url])}, limits={"maxOutputTokens": 10}),
        )
        status, _, _ = await ask(gateway, session, {"model": "m", "max_tokens": 11})
        assert status == 503
        assert second.received == []
        status, _, _ = await ask(gateway, session, {"model": "m", "max_tokens": 10})
        assert status == 200
        gateway.apply(
            model("m", {"m-1": (100, [DOWN])}, fallback=[{"url": second.url, "urlModel": "big"}])
        )
        second.received.clear()
        status, _, _ = await post(session, gateway.url + "/tokenize", {"model": "m"})
        assert (status, second.received) == (503, [])


async def test_an_open_circuit_answers_at_once_and_says_when_to_come_back(gateway, session):
    async with Upstream(resets) as engine:
        gateway.apply(
            model(
                "broken",
                {"b-1": (100, [engine.url])},
                circuitBreaker={"consecutiveErrors": 2, "openForSeconds": 1.5},
            )
        )
        codes = Counter()
        for _ in range(6):
            status, body, headers = await ask(gateway, session, {"model": "broken"})
            assert status == 503
            codes[json.loads(body)["error"]["code"]] += 1
        assert codes == {"no_capacity": 2, "circuit_open": 4}
        assert 1 <= int(headers["retry-after"]) <= 2
        engine.script = answers
        asked = len(engine.received)
        async with asyncio.timeout(20):
            while (await ask(gateway, session, {"model": "broken"}))[0] != 200:
                assert len(engine.received) == asked
                await asyncio.sleep(0.05)
        assert (await ask(gateway, session, {"model": "broken"}))[0] == 200


async def test_what_is_left_alone_is_told_in_series_and_chains_that_fail_in_the_log(
    gateway, session
):
    async with Upstream(resets) as bad, Upstream() as good:
        gateway.apply(
            model(
                "told",
                {"t-1": (100, [bad.url, good.url])},
                circuitBreaker={"consecutiveErrors": 1},
                fallback=[{"model": "told"}, {"model": "missing"}],
            )
        )
        assert (await samples(session, gateway, "endpoints_ejected"))["told:"] == 0
        for _ in range(4):
            assert (await ask(gateway, session, {"model": "told"}))[0] == 200
        assert (await samples(session, gateway, "endpoints_ejected"))["told:"] == 1
        assert (await samples(session, gateway, "breaker_state"))["told:"] == 0
        assert len(bad.received) == 1
        assert gateway.log("fallbacks form a loop")[-1]["loop"] == "told → told"
        assert gateway.log("fallbacks name no model")[-1]["unknown"] == ["missing"]
        async with session.get(gateway.url + "/metrics") as answer:
            text = await answer.text()
        for kind in ("loop", "unknown_model"):
            assert f'pagelet_gateway_fallback_trouble{{kind="{kind}",model="told"}} 1.0' in text


async def test_a_model_that_does_not_serve_at_all_falls_back(gateway, session):
    async with Upstream() as second:
        gateway.apply(
            model("m", {"m-1": (0, [])}, fallback=[{"model": "n"}]),
            model("n", {"n-1": (100, [second.url])}),
        )
        status, _, headers = await ask(gateway, session)
        assert (status, headers["x-pagelet-fallback"]) == (200, "n")
        gateway.apply(model("m", {"m-1": (0, [])}))
        assert (await ask(gateway, session))[0] == 503


async def test_clients_in_a_hurry_open_no_circuit(gateway, session):
    async def is_late(wire: Wire) -> None:
        await wire.reply(504, {"error": {"message": "late", "code": "deadline"}})

    for script in (never_begins, is_late):
        async with Upstream(script) as engine, Upstream(answers) as second:
            gateway.apply(
                model("m", {"m-1": (100, [engine.url])}, fallback=[{"model": "n"}]),
                model("n", {"n-1": (100, [second.url])}),
            )
            for _ in range(7):
                await ask(gateway, session, x_request_timeout_ms="60")
            engine.script = answers
            status, _, headers = await ask(gateway, session)
            assert (status, headers["x-pagelet-revision"]) == (200, "m-1")
            gateway.apply(model("m", {"m-1": (100, [engine.url])}))
            engine.script = script
            for _ in range(7):
                await ask(gateway, session, x_request_timeout_ms="60")
            engine.script = answers
            assert (await ask(gateway, session))[0] == 200


async def test_a_request_whose_revision_lost_its_share_meanwhile_is_dealt_again(gateway, session):
    """The only engine drains, and what replaces it is a canary with all the traffic."""
    async with Upstream(refuses_to_drain) as old, Upstream() as new:
        gateway.apply(model("m", {"m-2": (100, [new.url])}))
        for _ in range(50):  # retries are a share of all requests, and earlier tests had some
            assert (await ask(gateway, session))[0] == 200
        gateway.apply(model("m", {"m-1": (100, [old.url]), "m-2": (0, [new.url])}))
        asks = [asyncio.create_task(ask(gateway, session)) for _ in range(5)]
        await until(lambda: len(old.received) >= 1)
        gateway.apply(model("m", {"m-1": (0, [old.url]), "m-2": (100, [new.url])}))
        for status, body, headers in await asyncio.gather(*asks):
            assert (status, headers["x-pagelet-revision"]) == (200, "m-2")
            assert tokens(body) == TEXT
