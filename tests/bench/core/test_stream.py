"""What an answer's events mean."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_bench.core.result import Outcome
from pagelet_bench.core.sse import SseEvent
from pagelet_bench.core.stream import CompletionStream, error_message


def chunk(text="x", finish=None, **more):
    return {"choices": [{"text": text, "finish_reason": finish}], **more}


def read(*bodies):
    stream = CompletionStream()
    for now, body in enumerate(bodies):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        stream.accept(SseEvent("message", data), float(now))
    return stream


DONE = b"[DONE]"
USAGE = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 3}}


def test_a_whole_answer_is_ok_and_its_usage_counts():
    stream = read(chunk(), chunk(), chunk(finish="length"), USAGE, DONE)
    assert stream.verdict() == (Outcome.OK, "")
    assert stream.token_times_s == [0.0, 1.0, 2.0]
    assert (stream.prompt_tokens, stream.output_tokens) == (5, 3)


def test_usage_beside_the_choices_counts_too_and_null_does_not():
    stream = read(chunk(usage=None), chunk(usage=USAGE["usage"], finish="stop"), DONE)
    assert stream.output_tokens == 3


def test_a_token_whose_text_is_held_back_is_a_token():
    assert read(chunk(""), chunk(""), chunk("é")).token_times_s == [0.0, 1.0, 2.0]


def test_a_closing_event_without_text_is_no_token():
    assert read(chunk(), chunk("", "length"), USAGE, DONE).token_times_s == [0.0]


def test_a_closing_event_alone_is_the_first_token():
    assert read(chunk("", "length"), DONE).token_times_s == [0.0]


def test_nothing_after_done_counts():
    assert read(chunk(finish="stop"), DONE, chunk(), b"?").verdict() == (Outcome.OK, "")
    assert read(chunk(finish="stop"), DONE, chunk()).token_times_s == [0.0]


@pytest.mark.parametrize(
    ("bodies", "outcome", "told"),
    [
        ([], Outcome.CUT, "without a finish reason"),
        ([chunk()], Outcome.CUT, "without a finish reason"),
        ([chunk(), DONE], Outcome.CUT, "without a finish reason"),
        ([chunk(finish="stop")], Outcome.CUT, r"without \[DONE\]"),
        ([chunk(), {"error": {"message": "engine died"}}, DONE], Outcome.ERROR, "engine died"),
        ([chunk(), {"error": "plain"}], Outcome.ERROR, "plain"),
        ([b"{"], Outcome.MALFORMED, "not JSON"),
        ([b"\xff"], Outcome.MALFORMED, "not JSON"),
        ([[1]], Outcome.MALFORMED, "not an object"),
        ([{"id": 1}], Outcome.MALFORMED, "no choices.*id"),
        ([{"choices": [1]}], Outcome.MALFORMED, "no choices"),
    ],
)
def test_what_goes_wrong_is_named(bodies, outcome, told):
    found, detail = read(*bodies).verdict()
    assert found is outcome
    assert re.search(told, detail)


def test_an_error_is_not_undone_by_what_follows():
    stream = read({"error": {"message": "no"}}, chunk(finish="stop"), DONE)
    assert stream.has_failed
    assert stream.verdict() == (Outcome.ERROR, "no")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "usage", "error", "text", "finish_reason", "prompt_tokens"]
            ),
            inner,
            max_size=4,
        )
    ),
)


@given(st.lists(json_values | st.binary(max_size=10), max_size=6))
def test_no_event_whatever_it_holds_raises(bodies):
    stream = read(*bodies)
    outcome, detail = stream.verdict()
    assert (outcome is Outcome.OK) == (detail == "")
    assert stream.token_times_s == sorted(stream.token_times_s)


def test_an_error_without_a_message_is_shown_as_it_is():
    assert error_message({"error": {"code": 7}}) == repr('{"error": {"code": 7}}')


def chat(delta, finish=None):
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def test_a_chats_opening_is_no_token_and_its_thoughts_are():
    stream = CompletionStream()
    deltas = [
        chat({"role": "assistant", "content": ""}),
        chat({"reasoning_content": "hm"}),
        chat({"content": "Pa"}),
        chat({"content": "ris"}),
        chat({}, "stop"),
    ]
    for number, body in enumerate(deltas):
        stream.accept(SseEvent("message", json.dumps(body).encode()), float(number))
    stream.accept(SseEvent("message", b"[DONE]"), 9.0)
    assert stream.token_times_s == [1.0, 2.0, 3.0]
    assert stream.text == "Paris"
    assert stream.verdict() == (Outcome.OK, "")


def test_a_first_event_of_a_chat_that_brings_text_is_a_token():
    stream = CompletionStream()
    body = chat({"role": "assistant", "content": "Yes"})
    stream.accept(SseEvent("message", json.dumps(body).encode()), 4.0)
    assert stream.token_times_s == [4.0]
