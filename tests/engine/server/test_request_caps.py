import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.errors import InvalidRequestError, OutputCapError, PromptCapError
from pagelet_engine.server.protocol import ChatCompletionRequest, CompletionRequest
from pagelet_engine.server.request_caps import RequestCaps
from server_client import request
from server_process import echo_server

GATEWAY_KEY = "sk-is-the-gateway---"
KEY = {"x-pagelet-gateway-key": GATEWAY_KEY}


def caps(prompt=None, output=None, num_sequences=1):
    return RequestCaps(
        max_prompt_tokens=prompt, max_output_tokens=output, num_sequences=num_sequences
    )


def body(**fields):
    return CompletionRequest.model_validate({"model": "m", "prompt": "a", **fields})


@given(st.integers(1, 50), st.integers(0, 60), st.integers(1, 60))
def test_no_request_gets_more_output_than_its_cap(cap, max_tokens, num_sequences):
    limits = caps(output=cap, num_sequences=num_sequences)
    asked = SamplingParams(max_tokens=max(1, max_tokens))
    try:
        limits.check_output(body(max_tokens=max_tokens))
    except OutputCapError:
        assert max_tokens * num_sequences > cap or num_sequences > cap
        return
    assert limits.lowered(asked).max_tokens * num_sequences <= cap
    if max_tokens > 0:
        assert limits.lowered(asked) == asked  # what was asked for is given


def test_the_field_that_asks_too_much_is_named():
    chat = {"model": "m", "messages": [{"role": "user", "content": "a"}]}
    wide = ChatCompletionRequest.model_validate({**chat, "max_completion_tokens": 11})
    for limits, asked, param in (
        (caps(output=10), wide, "max_completion_tokens"),
        (caps(output=10), body(max_tokens=11), "max_tokens"),
        (caps(output=10, num_sequences=11), body(), "n"),
    ):
        with pytest.raises(OutputCapError) as refusal:
            limits.check_output(asked)
        assert (refusal.value.param, refusal.value.code) == (param, "output_cap_exceeded")


def test_a_default_is_lowered_but_never_below_what_must_be_generated():
    assert caps(output=9, num_sequences=2).lowered(SamplingParams(max_tokens=500)).max_tokens == 4
    with pytest.raises(InvalidRequestError):
        caps(output=9).lowered(SamplingParams(max_tokens=500, min_tokens=10))


def test_each_prompt_is_held_to_the_cap():
    caps(prompt=3).check_prompts([[1, 2, 3], [1]])
    caps().check_prompts([[1] * 10_000])
    with pytest.raises(PromptCapError, match="4 tokens; at most 3"):
        caps(prompt=3).check_prompts([[1], [1, 2, 3, 4]])


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    key_file = tmp_path_factory.mktemp("key") / "gateway"
    key_file.write_text(GATEWAY_KEY)
    with echo_server(listen={"gateway_key_file": str(key_file)}) as server:
        yield server.wait_ready()


@pytest.mark.parametrize(
    ("headers", "fields", "status", "said"),
    [
        ({"x-pagelet-max-prompt-tokens": "3"}, {"prompt": "abcd"}, 400, "prompt_too_long"),
        ({"x-pagelet-max-prompt-tokens": "4"}, {"prompt": "abcd"}, 200, None),
        ({"x-pagelet-max-prompt-tokens": "x"}, {}, 400, "invalid_gateway_header"),
        ({"x-pagelet-max-output-tokens": "5"}, {"max_tokens": 6}, 400, "output_cap_exceeded"),
        (
            {"x-pagelet-max-output-tokens": "5"},
            {"max_tokens": 3, "n": 2},
            400,
            "output_cap_exceeded",
        ),
        (
            {"x-pagelet-max-output-tokens": "5"},
            {"prompt": list("abcdef")},
            400,
            "output_cap_exceeded",
        ),
        ({"x-pagelet-max-output-tokens": "5"}, {"max_tokens": 5}, 200, None),
    ],
)
def test_caps_hold_before_anything_is_queued(url, headers, fields, status, said):
    asked = {"model": "echo", "prompt": "ab", **fields}
    reply = request(url, "POST", "/v1/completions", asked, headers={**KEY, **headers})
    assert reply.status == status, reply.json
    assert said is None or reply.json["error"]["code"] == said


def test_a_default_keeps_to_the_cap(url):
    chat = {"model": "echo", "messages": [{"role": "user", "content": "a"}], "n": 2}
    limit = {**KEY, "x-pagelet-max-output-tokens": "7"}
    reply = request(url, "POST", "/v1/completions", {"model": "echo", "prompt": "a"}, headers=limit)
    assert reply.json["usage"]["completion_tokens"] <= 7
    reply = request(url, "POST", "/v1/chat/completions", chat, headers=limit)
    assert reply.json["usage"]["completion_tokens"] <= 7


def said(body: bytes) -> str:
    events = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: {")]
    return "".join(c["text"] for event in events for c in json.loads(event)["choices"])


def test_a_stream_says_what_it_used_to_who_asks_and_in_a_comment(url):
    asked = {"model": "echo", "prompt": "abc", "max_tokens": 4, "stream": True}
    plain = request(url, "POST", "/v1/completions", asked, headers=KEY)
    told = request(url, "POST", "/v1/completions", asked, headers={**KEY, "x-pagelet-usage": "1"})
    comment = [line for line in told.body.split(b"\n") if line.startswith(b": pagelet-usage ")]
    assert b"pagelet-usage" not in plain.body
    assert len(comment) == 2
    assert told.body.startswith(comment[0])
    assert b'"prompt_tokens":3,"completion_tokens":' in comment[0]
    assert b'"prompt_tokens":3,"completion_tokens":4' in comment[1]
    assert said(told.body) == said(plain.body)  # in how many events is a matter of pace
    assert told.body.endswith(comment[1] + b"\n\ndata: [DONE]\n\n")
