"""Bodies nobody thought of: valid ones bent and broken by chance, several at once, beside a stream.

Two tests of 5,000 requests each; `PAGELET_FUZZ_EXAMPLES` says how many instead. All the while a
bystander's stream runs over and over, and each time must say what it says alone.
"""

import http.client
import json
import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pagelet_engine.config import EngineConfig
from pagelet_engine.engine_client import engine_command
from pagelet_engine.server.errors import CODES
from pagelet_engine.server.protocol import ChatCompletionRequest, CompletionRequest
from server_client import request, stream, text_of
from server_process import echo_server

NUM_REQUESTS = int(os.environ.get("PAGELET_FUZZ_EXAMPLES", "5000"))
AT_ONCE = 4
LEAST_SERVED = 0.25
"""Share of the bent bodies that must be served: what is refused at the door proves little."""
LEAST_STREAMED = 0.05
MODEL = {"model": "dummy://tiny", "served_model_name": "m", "num_threads": 1}
TEXT, CHAT = "/v1/completions", "/v1/chat/completions"
BYSTANDER = {"model": "m", "prompt": "once upon a time", "max_tokens": 60, "seed": 7}
VALID = {
    TEXT: {"model": "m", "prompt": "a", "max_tokens": 2},
    CHAT: {"model": "m", "max_tokens": 2, "messages": [{"role": "user", "content": "a"}]},
    "/tokenize": {"prompt": "a"},
    "/detokenize": {"tokens": [1]},
}
FIELDS = sorted({*ChatCompletionRequest.model_fields, *CompletionRequest.model_fields})
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(-2, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["m", "user", "auto", "none", "json_object", "<|im_end|>", "\ud800", "((("])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*FIELDS, "type", "role", "content"]), inner, max_size=4)
    ),
    max_leaves=8,
)
wild = st.dictionaries(st.sampled_from(FIELDS), values, min_size=1, max_size=3)

flags, ids, words = st.booleans(), st.integers(0, 255), st.text(min_size=1, max_size=8)
COMMON = {
    "max_tokens": st.integers(1, 4),
    "temperature": st.floats(0, 2),
    "top_p": st.floats(0.01, 1),
    "top_k": st.integers(-1, 300),
    "min_p": st.floats(0, 1),
    "seed": st.integers(-(2**63), 2**63 - 1),
    "n": st.integers(1, 3),
    "presence_penalty": st.floats(-2, 2),
    "frequency_penalty": st.floats(-2, 2),
    "repetition_penalty": st.floats(0.5, 2),
    "logit_bias": st.dictionaries(ids.map(str), st.floats(-100, 100), max_size=3),
    "allowed_token_ids": st.lists(ids, min_size=1, max_size=5),
    "bad_words": st.lists(words, max_size=3),
    "min_tokens": st.integers(0, 2),
    "stop": words | st.lists(words, max_size=4),
    "stop_token_ids": st.lists(ids, max_size=3),
    "include_stop_str_in_output": flags,
    "prompt_logprobs": st.integers(0, 5),
    "ignore_eos": flags,
    # Mostly none: each constraint costs a process, and `test_constraint_fields.py` is about them.
    "response_format": st.sampled_from([{"type": "text"}] * 5 + [{"type": "json_object"}]),
    "structured_outputs": st.sampled_from([None] * 5 + [{"regex": "a+"}]),
    "user": words,
    "timeout": st.floats(30, 3600),
}
roles = st.sampled_from(["system", "user", "assistant"])
TAME = {
    TEXT: COMMON
    | {
        "prompt": words | st.lists(ids, min_size=1, max_size=9) | st.lists(words, min_size=1),
        "logprobs": st.integers(0, 5),
        "echo": flags,
    },
    CHAT: COMMON
    | {
        "messages": st.lists(
            st.fixed_dictionaries({"role": roles, "content": st.text(max_size=30)}), min_size=1
        ),
        "max_completion_tokens": st.integers(1, 4),
        "logprobs": flags,
        "add_generation_prompt": flags,
    },
    "/tokenize": {"prompt": st.text(max_size=50), "model": st.just("m")},
    "/detokenize": {"tokens": st.lists(ids, max_size=50), "model": st.just("m")},
}
"""Values of the right type and mostly in range; together they may still contradict each other."""


def tame(path):
    """Draw one to four fields of `path` with values that it takes."""
    fields = TAME[path]
    pairs = st.sampled_from(sorted(fields)).flatmap(
        lambda name: st.tuples(st.just(name), fields[name])
    )
    return st.lists(pairs, min_size=1, max_size=4).map(dict)


def starts(path):
    """Return a valid body to begin with; one of two is streamed where there are streams."""
    streamed = [{}, {"stream": True}] if path in (TEXT, CHAT) else [{}]
    return st.sampled_from([VALID[path] | fields for fields in streamed])


bent = st.one_of(
    st.tuples(st.just(path), starts(path), changes)
    for path in [TEXT, CHAT] * 3 + ["/tokenize", "/detokenize"]
    for changes in (tame(path), wild)
)
fuzz = settings(
    max_examples=max(1, NUM_REQUESTS // AT_ONCE),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def server():
    with echo_server(model=MODEL, command=engine_command(EngineConfig(**MODEL))) as server:
        server.wait_ready()
        yield server
        assert request(server.url, "GET", "/readyz").status == 200
        assert "Traceback" not in "".join(server.lines)


@pytest.fixture(scope="module")
def bystander(server):
    """Somebody else's stream, again and again until the tests have ended."""

    def run():
        with stream(server.url, TEXT, BYSTANDER) as events:
            seen = list(events)
        return text_of(seen), seen[-1]

    def run_until_done():
        while not done.is_set():
            told.append(run())

    alone, told, done = run(), [], threading.Event()
    runner = threading.Thread(target=run_until_done)
    runner.start()
    yield
    done.set()
    runner.join()
    assert alone[1] == "[DONE]"
    assert len(set(alone[0])) > 10
    assert told
    assert set(told) == {alone}


@pytest.fixture(scope="module")
def send(server, bystander):
    """Return what sends several bodies at once, each on a connection that is kept."""
    own = threading.local()

    def answer(path, raw):
        if not hasattr(own, "wire"):
            own.wire = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
            wires.append(own.wire)
        own.wire.request("POST", path, raw, {"content-type": "application/json"})
        response = own.wire.getresponse()
        return response.status, response.getheader("content-type"), response.read()

    wires = []
    with ThreadPoolExecutor(AT_ONCE) as senders:
        yield lambda bodies: list(senders.map(lambda body: answer(*body), bodies))
    for wire in wires:
        wire.close()


@pytest.fixture(scope="module")
def outcomes():
    """Bent bodies by what became of them; enough of them must have been served."""
    counts = Counter()
    yield counts
    if counts.total() >= 500:
        assert counts["served"] + counts["streamed"] >= LEAST_SERVED * counts.total(), counts
        assert counts["streamed"] >= LEAST_STREAMED * counts.total(), counts


def check(status, kind, body, raw):
    """Return the outcome: any is allowed that says what is wrong, none that is ours to regret."""
    if kind.startswith("text/event-stream"):
        assert status == 200
        return check_stream(body, raw)
    told = json.loads(body)
    if status == 200:
        return "served"
    check_error(status, told["error"], raw)
    return "refused"


def check_stream(body, raw):
    """Read a stream to its end: chunks, then `[DONE]` or an error, and nothing after."""
    *events, rest = body.decode().split("\n\n")
    assert rest == ""
    data = [event.removeprefix("data: ") for event in events if not event.startswith(": ")]
    *chunks, last = data
    assert all("choices" in json.loads(chunk) for chunk in chunks)
    if last == "[DONE]":
        return "streamed"
    check_error(400, json.loads(last)["error"], raw)
    return "refused"


def check_error(status, error, raw):
    assert error["code"] in CODES
    if error["code"] == "deadline_exceeded":
        assert b'"timeout"' in raw  # an accident: a time that is over at once
    else:
        assert status < 500, (status, error)
        assert error["type"] != "server_error"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("settings", "param", "says"),
    [
        ({"min_tokens": 1, "allowed_token_ids": [0]}, "allowed_token_ids", "min_tokens"),
        ({"bad_words": ["a"], "allowed_token_ids": [97]}, "allowed_token_ids", "bad_words"),
        ({"bad_words": ["aa"], "allowed_token_ids": [97]}, None, "cannot go on"),
        ({"structured_outputs": {"regex": "b"}, "allowed_token_ids": [97]}, None, "cannot go on"),
    ],
)
def test_settings_that_leave_no_token_are_the_clients_own(server, streamed, settings, param, says):
    body = {"model": "m", "prompt": "a", "max_tokens": 2, "stream": streamed} | settings
    reply = request(server.url, "POST", TEXT, body)
    if param is not None or not streamed:
        assert reply.status == 400
    kind, body = reply.headers["content-type"], reply.body
    error = error_of(kind, body)
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_value")
    assert error["param"] == param
    assert says in error["message"]


def error_of(kind, body):
    """Return the error of an answer, or of a stream that ends in one."""
    is_stream = kind.startswith("text/event-stream")
    told = body.decode().removesuffix("\n\n").split("\n\n")[-1].removeprefix("data: ")
    return json.loads(told if is_stream else body)["error"]


@fuzz
@given(bodies=st.lists(bent, min_size=AT_ONCE, max_size=AT_ONCE))
def test_any_value_in_any_field_is_served_or_refused(send, outcomes, bodies):
    raws = [(path, json.dumps(start | changes).encode()) for path, start, changes in bodies]
    for (_, raw), answer in zip(raws, send(raws), strict=True):
        outcomes[check(*answer, raw)] += 1


@st.composite
def damaged(draw):
    path = draw(st.sampled_from(sorted(VALID)))
    raw = bytearray(json.dumps(draw(starts(path))).encode())
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        until = draw(st.integers(at, min(len(raw), at + 5)))
        raw[at:until] = draw(st.binary(max_size=5))
    return path, bytes(raw)


@fuzz
@given(bodies=st.lists(damaged(), min_size=AT_ONCE, max_size=AT_ONCE))
def test_any_damage_to_a_body_is_served_or_refused(send, bodies):
    for (_, raw), answer in zip(bodies, send(bodies), strict=True):
        check(*answer, raw)
