"""What counts as an engine's failure at the start of a stream, and what becomes of it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_faults import error_event, opens_with_an_error_event
from gateway_process import model, post, samples, tokens
from gateway_upstream import Upstream, Wire, answers, event
from pagelet_gateway.server.error_event import (
    MAX_OPENING_BYTES,
    may_open_with_error,
    opens_with_failure,
)

PATH = "/v1/chat/completions"
COMMENTS = b": waiting\n\n: pagelet-usage {}\n\n"


def test_an_error_counts_as_the_first_data_event_only():
    failed = error_event("generation_failed")
    assert opens_with_failure(failed)
    assert opens_with_failure(COMMENTS + failed)
    assert opens_with_failure(failed.replace(b"\n", b"\r\n"))
    assert opens_with_failure(b'data: {"error": "boom"}\n\n')
    assert not opens_with_failure(event("a") + failed)
    assert not opens_with_failure(b"data: [DONE]\n\n" + failed)
    assert not opens_with_failure(b'data: {"error": null, "choices": []}\n\n')
    assert not opens_with_failure(b'data: "error" {\n\n')


@pytest.mark.parametrize(
    "said",
    [
        error_event("deadline_exceeded"),
        error_event("context_length_exceeded", "invalid_request_error"),
        error_event("rate_limit_exceeded", "rate_limit_error"),
        b'data: {"error": {"message": "no", "code": 400}}\n\n',
    ],
)
def test_an_error_that_is_not_the_engines_is_passed_on(said):
    assert not opens_with_failure(said)


@given(st.integers(0, 400))
def test_an_error_cut_anywhere_after_its_name_is_waited_for(cut):
    whole = COMMENTS + error_event("generation_failed")
    part = whole[: min(cut, len(whole) - 1)]
    assert may_open_with_error(part) == (b'"error"' in part)
    assert not opens_with_failure(part)
    assert not may_open_with_error(whole)


def test_an_opening_that_never_ends_is_not_waited_for():
    assert not may_open_with_error(b'data: {"error": "' + b"x" * MAX_OPENING_BYTES)
    assert not may_open_with_error(event("a")[:-1])


async def in_two_parts(wire: Wire) -> None:
    said = error_event("generation_failed")
    await wire.start_stream()
    await wire.part(said[:30])
    await wire.part(said[30:])
    await wire.end_stream(done=False)


@pytest.mark.parametrize("script", [opens_with_an_error_event, in_two_parts])
async def test_another_engine_answers_for_one_that_opens_with_an_error(gateway, session, script):
    name = script.__name__
    async with Upstream(script) as broken, Upstream(answers) as sound:
        link = {"model": f"{name}-second"}
        gateway.apply(
            model(name, {"e-1": (100, [broken.url])}, fallback=[link]),
            model(link["model"], {"s-1": (100, [sound.url])}),
        )
        status, said, headers = await post(
            session, gateway.url + PATH, {"model": name, "stream": True}
        )
        assert (status, tokens(said)) == (200, "one two three four five")
        assert headers["x-pagelet-fallback"] == link["model"]
        assert len(broken.received) == 1
        assert (await samples(session, gateway, "retries_total"))[f"{name}:error"] == 1


async def test_the_error_reaches_the_client_as_it_was_if_nobody_else_answers(gateway, session):
    async with Upstream(opens_with_an_error_event) as broken:
        gateway.apply(model("lone", {"e-1": (100, [broken.url])}))
        status, said, _ = await post(session, gateway.url + PATH, {"model": "lone", "stream": True})
        assert status == 200
        assert json.loads(said.removeprefix(b"data: "))["error"]["code"] == "generation_failed"
        assert len(broken.received) == 1
        assert (await samples(session, gateway, "streams_cut_total"))["lone:engine_error"] == 1


async def test_an_error_that_blames_the_request_is_asked_of_one_engine(gateway, session):
    async def blames(wire: Wire) -> None:
        await wire.start_stream()
        await wire.part(error_event("invalid_value", "invalid_request_error"))
        await wire.end_stream(done=False)

    async with Upstream(blames) as first, Upstream(blames) as second:
        gateway.apply(model("blamed", {"b-1": (100, [first.url, second.url])}))
        _, said, _ = await post(session, gateway.url + PATH, {"model": "blamed", "stream": True})
        assert b'"invalid_value"' in said
        assert len(first.received) + len(second.received) == 1
