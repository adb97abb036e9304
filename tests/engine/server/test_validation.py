"""Bad requests: each gets OpenAI's error object, and a stream beside it does not notice."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagelet_engine.errors import EngineError
from pagelet_engine.server.protocol import ChatCompletionRequest, CompletionRequest
from pagelet_engine.server.validation import validate
from server_client import request, stream, text_of
from server_process import echo_server

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "hello"}]
CONTEXT = 1024
BODY_LIMIT = 256 * 1024


def chat(**fields):
    return CHAT, {"model": "echo", "messages": HELLO} | fields


def text(**fields):
    return TEXT, {"model": "echo", "prompt": "hello"} | fields


def message(**fields):
    return chat(messages=[{"role": "user", "content": "x"} | fields])


def without(case, field):
    path, body = case
    return path, {key: value for key, value in body.items() if key != field}


@pytest.fixture(scope="module")
def url():
    arguments = ("--step-seconds", "0.001", "--max-model-len", str(CONTEXT))
    with echo_server(*arguments, listen={"max_body_bytes": BODY_LIMIT}) as server:
        yield server.wait_ready()


@pytest.fixture
def bystander(url):
    """A stream in progress: must end as if nothing had happened."""
    with stream(url, TEXT, text(max_tokens=60)[1]) as events:
        seen = [next(events)]
        yield
        seen += events
    assert text_of(seen) == "hello" * 12
    assert seen[-1] == "[DONE]"


MISSING, UNKNOWN = "missing_required_parameter", "unknown_parameter"
TYPE, VALUE, UNSUPPORTED = "invalid_type", "invalid_value", "unsupported_parameter"
TOO_LONG = "context_length_exceeded"

CASES = [
    (without(chat(), "model"), MISSING, "model"),
    (chat(model=None), MISSING, "model"),
    (chat(model=7), TYPE, "model"),
    (without(chat(), "messages"), MISSING, "messages"),
    (chat(messages=[]), VALUE, "messages"),
    (chat(messages=HELLO * 4097), VALUE, "messages"),
    (chat(messages="hello"), TYPE, "messages"),
    (chat(messages=["hello"]), TYPE, "messages[0]"),
    (message(**{f"k{i}": 1 for i in range(1025)}), VALUE, "messages"),
    (chat(**{"k" * 5000: 1}), UNKNOWN, "k" * 100),
    (message(role="nobody"), VALUE, "messages[0].role"),
    (message(role=None), MISSING, "messages[0].role"),
    (message(content=None), MISSING, "messages[0].content"),
    (message(content=3), TYPE, "messages[0].content"),
    (message(content=[{"type": "image_url"}]), VALUE, "messages[0].content"),
    (message(content=[{"type": "text", "text": 1}]), VALUE, "messages[0].content"),
    (message(tool_calls=[{}]), MISSING, "messages[0].tool_calls[0].id"),
    (chat(foo=1), UNKNOWN, "foo"),
    (chat(guided_json={}), UNSUPPORTED, "guided_json"),
    (chat(n=0), VALUE, "n"),
    (chat(n=129), VALUE, "n"),
    (chat(n=True), TYPE, "n"),
    (text(prompt=["a"] * 65, n=2), VALUE, "n"),
    (chat(logprobs=1), TYPE, "logprobs"),
    (chat(top_logprobs=2), VALUE, "top_logprobs"),
    (chat(logprobs=False, top_logprobs=0), VALUE, "top_logprobs"),
    (chat(logprobs=True, top_logprobs=21), VALUE, "top_logprobs"),
    (chat(logprobs=True, top_logprobs=-1), VALUE, "top_logprobs"),
    (chat(prompt_logprobs=21), VALUE, "prompt_logprobs"),
    (chat(prompt_logprobs=0, stream=True), VALUE, "prompt_logprobs"),
    (chat(echo=True), UNSUPPORTED, "echo"),
    (text(logprobs=6), VALUE, "logprobs"),
    (text(logprobs=True), TYPE, "logprobs"),
    (text(top_logprobs=1), UNSUPPORTED, "top_logprobs"),
    (text(echo=1), TYPE, "echo"),
    (text(echo=False, max_tokens=0), VALUE, "max_tokens"),
    (text(echo=True, max_tokens=-1), VALUE, "max_tokens"),
    (text(suffix="x"), UNSUPPORTED, "suffix"),
    (text(best_of=2), UNSUPPORTED, "best_of"),
    (chat(tools=[{"type": "function"}]), MISSING, "tools[0].function"),
    (chat(response_format={"type": "xml"}), VALUE, "response_format.type"),
    (chat(presence_penalty=2.5), VALUE, "presence_penalty"),
    (chat(frequency_penalty=-3), VALUE, "frequency_penalty"),
    (chat(frequency_penalty="1"), TYPE, "frequency_penalty"),
    (chat(repetition_penalty=0), VALUE, "repetition_penalty"),
    (chat(logit_bias=[]), TYPE, "logit_bias"),
    (chat(logit_bias={"5": "1"}), TYPE, "logit_bias"),
    (chat(logit_bias={"5": True}), TYPE, "logit_bias"),
    (chat(logit_bias={"5": 101}), VALUE, "logit_bias"),
    (chat(logit_bias={"1000": 1}), VALUE, "logit_bias"),
    (chat(logit_bias={"-1": 1}), VALUE, "logit_bias"),
    (chat(logit_bias={"a": 1}), VALUE, "logit_bias"),
    (chat(logit_bias={"1": 1, "01": 1}), VALUE, "logit_bias"),
    (chat(logit_bias={"9" * 5000: 1}), VALUE, "logit_bias"),
    (chat(min_p=1.1), VALUE, "min_p"),
    (chat(min_tokens=-1), VALUE, "min_tokens"),
    (chat(min_tokens=6, max_tokens=5), VALUE, "min_tokens"),
    (chat(min_tokens=CONTEXT), VALUE, "min_tokens"),
    (chat(bad_words="a"), TYPE, "bad_words"),
    (chat(bad_words=[""]), VALUE, "bad_words[0]"),
    (chat(bad_words=["a" * 65]), VALUE, "bad_words[0]"),
    (chat(bad_words=["a"] * 65), VALUE, "bad_words"),
    (chat(allowed_token_ids=[]), VALUE, "allowed_token_ids"),
    (chat(allowed_token_ids=[1000]), VALUE, "allowed_token_ids"),
    (chat(allowed_token_ids=[1] * 4097), VALUE, "allowed_token_ids"),
    (chat(include_stop_str_in_output=1), TYPE, "include_stop_str_in_output"),
    (chat(temperature=2.1), VALUE, "temperature"),
    (chat(temperature=-0.1), VALUE, "temperature"),
    (chat(temperature="hot"), TYPE, "temperature"),
    (chat(top_p=0), VALUE, "top_p"),
    (chat(top_p=1.1), VALUE, "top_p"),
    (chat(top_k=-2), VALUE, "top_k"),
    (chat(top_k=1.5), TYPE, "top_k"),
    (chat(seed=2**63), VALUE, "seed"),
    (chat(seed=10**30), TYPE, "seed"),
    (chat(max_tokens=0), VALUE, "max_tokens"),
    (chat(max_completion_tokens=-1), VALUE, "max_completion_tokens"),
    (chat(max_tokens="5"), TYPE, "max_tokens"),
    (chat(max_tokens=True), TYPE, "max_tokens"),
    (chat(max_tokens=5, max_completion_tokens=5), VALUE, "max_tokens"),
    (chat(stop=["a"] * 5), VALUE, "stop"),
    (chat(stop=""), VALUE, "stop"),
    (chat(stop="a" * 257), VALUE, "stop"),
    (chat(stop=[1]), TYPE, "stop"),
    (chat(stop_token_ids=[1000]), VALUE, "stop_token_ids"),
    (chat(stop_token_ids=[-1]), VALUE, "stop_token_ids"),
    (chat(stop_token_ids=list(range(65))), VALUE, "stop_token_ids"),
    (chat(stream="yes"), TYPE, "stream"),
    (chat(stream_options={"include_usage": True}), VALUE, "stream_options"),
    (chat(stream=True, stream_options={"foo": 1}), UNKNOWN, "stream_options.foo"),
    (chat(ignore_eos=1), TYPE, "ignore_eos"),
    (without(text(), "prompt"), MISSING, "prompt"),
    (text(prompt=""), VALUE, "prompt"),
    (text(prompt=[]), VALUE, "prompt"),
    (text(prompt=[[]]), VALUE, "prompt"),
    (text(prompt=["a", 1]), TYPE, "prompt"),
    (text(prompt=[1, True]), TYPE, "prompt"),
    (text(prompt=["a"] * 129), VALUE, "prompt"),
    (text(prompt=[1000]), VALUE, "prompt"),
    (text(prompt=[-1]), VALUE, "prompt"),
    (text(prompt=[0] * CONTEXT), TOO_LONG, None),
    (text(prompt=[[1], [0] * CONTEXT]), TOO_LONG, None),
    (text(prompt="x" * (CONTEXT - 16 + 1)), TOO_LONG, "max_tokens"),
    (text(max_tokens=CONTEXT), TOO_LONG, "max_tokens"),
    (message(content="x" * CONTEXT), TOO_LONG, None),
    (chat(max_completion_tokens=CONTEXT), TOO_LONG, "max_completion_tokens"),
    (("/tokenize", {}), MISSING, "prompt"),
    (("/tokenize", {"prompt": "a", "messages": HELLO}), VALUE, "prompt"),
    (("/detokenize", {"tokens": [1000]}), VALUE, "tokens"),
    (("/detokenize", {"tokens": "a"}), TYPE, "tokens"),
    (("/detokenize", {"tokens": [1] * (CONTEXT + 1)}), VALUE, "tokens"),
]


@pytest.mark.parametrize(("case", "code", "param"), CASES)
def test_a_bad_request_names_its_fault_and_disturbs_nobody(url, bystander, case, code, param):
    path, body = case
    reply = request(url, "POST", path, body)
    error = reply.json["error"]
    assert (reply.status, error["code"], error["param"]) == (400, code, param), error["message"]
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert reply.headers["x-request-id"]


RAW = [
    (b"{", {}, 400, "invalid_json"),
    (b"[]", {}, 400, "invalid_json"),
    (b"", {}, 400, "invalid_json"),
    (b'"text"', {}, 400, "invalid_json"),
    (b'{"model": NaN}', {}, 400, "invalid_json"),
    (b'{"model": 1e999}', {}, 400, "invalid_json"),
    (b"\xff\xfe{}", {}, 400, "invalid_json"),
    (b'{"prompt": "\\ud800"}', {}, 400, "invalid_json"),
    (b"[" * 20_000, {}, 400, "invalid_json"),
    (b"{}", {"content-type": "text/plain"}, 415, "unsupported_media_type"),
    (b"{}", {"content-type": ""}, 415, "unsupported_media_type"),
    (b"a=b", {"content-type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
    (b" " * (BODY_LIMIT + 1), {}, 413, "request_too_large"),
]


@pytest.mark.parametrize(("raw", "headers", "status", "code"), RAW)
def test_a_body_that_is_no_request_is_refused(url, bystander, raw, headers, status, code):
    reply = request(url, "POST", CHAT, raw=raw, headers=headers)
    assert (reply.status, reply.json["error"]["code"]) == (status, code)


def test_a_body_without_announced_length_is_bounded_as_well(url, bystander):
    chunk = b"%x\r\n%b\r\n" % (8192, b" " * 8192)
    raw = chunk * (BODY_LIMIT // 8192 + 1) + b"0\r\n\r\n"
    reply = request(url, "POST", CHAT, raw=raw, headers={"transfer-encoding": "chunked"})
    assert (reply.status, reply.json["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/", None, 404, "unknown_url"),
        ("POST", "/v1/embeddings", {}, 404, "unknown_url"),
        ("POST", "/v1/chat/completions/", {}, 404, "unknown_url"),
        ("GET", "/docs", None, 404, "unknown_url"),
        ("GET", CHAT, None, 405, "method_not_allowed"),
        ("DELETE", "/v1/models", None, 405, "method_not_allowed"),
        ("GET", "/v1/models/gpt-4", None, 404, "model_not_found"),
        ("POST", *chat(model="gpt-4"), 404, "model_not_found"),
        ("POST", *text(model="x" * 5000), 404, "model_not_found"),
        ("POST", "/tokenize", {"model": "gpt-4", "prompt": "a"}, 404, "model_not_found"),
    ],
)
def test_what_does_not_exist_is_an_error_object_too(
    url, bystander, method, path, body, status, code
):
    reply = request(url, method, path, body)
    error = reply.json["error"]
    assert (reply.status, error["code"]) == (status, code)
    assert len(error["message"]) < 300


def test_values_that_ask_for_nothing_are_accepted(url):
    off = {
        "n": 1,
        "logprobs": False,
        "presence_penalty": 0,
        "frequency_penalty": 0.0,
        "logit_bias": {},
        "tools": [],
        "tool_choice": "auto",
        "response_format": {"type": "text"},
        "top_logprobs": None,
        "stop": None,
        "user": "u",
        "metadata": {"a": "b"},
        "top_k": -1,
        "max_tokens": 5,
    }
    assert request(url, "POST", *chat(**off)).status == 200


def test_an_assistant_message_may_be_sent_back_as_it_came(url):
    history = [*HELLO, {"role": "assistant", "content": "hi", "refusal": None, "tool_calls": None}]
    path, body = chat(messages=history + HELLO, max_tokens=1)
    assert request(url, "POST", path, body).status == 200


def test_the_message_of_a_type_error_does_not_repeat_the_value(url):
    reply = request(url, "POST", *message(content={"secret": "swordfish"}))
    assert b"swordfish" not in reply.body


def test_lengths_are_told_in_tokens(url):
    reply = request(url, "POST", *text(prompt=[7] * 1000, max_tokens=25))
    assert "1024" in reply.json["error"]["message"]
    assert "1000" in reply.json["error"]["message"]
    assert request(url, "POST", *text(prompt=[7] * 1000, max_tokens=24)).status == 200


values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=5),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
fields = st.sampled_from(
    [*ChatCompletionRequest.model_fields, *CompletionRequest.model_fields, "n", "tools", "foo"]
)


@settings(deadline=None)
@given(raw=st.dictionaries(fields, values), body=st.sampled_from(["chat", "text"]))
def test_any_json_object_is_either_a_request_or_refused_with_an_error(raw, body):
    kind = ChatCompletionRequest if body == "chat" else CompletionRequest
    with contextlib.suppress(EngineError):  # anything else is a bug
        assert isinstance(validate(kind, json.loads(json.dumps(raw))), kind)
