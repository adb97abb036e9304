"""How many log-probabilities an answer may hold, and what the largest one costs its neighbours."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_engine.config import EngineConfig
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.engine_client import engine_command
from pagelet_engine.errors import InvalidRequestError
from pagelet_engine.server.protocol import ChatCompletionRequest, CompletionRequest
from pagelet_engine.server.score_caps import MAX_SCORES, ScoreCap
from server_client import request, stream, text_of
from server_process import echo_server
from server_stall import computed_s

MODEL = {"model": "dummy://tiny", "served_model_name": "m", "num_threads": 1}
TEXT, CHAT = "/v1/completions", "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]
STALL_S = 2.0
"""What the API process may compute while a probe waits; usually 0.1 s."""


def plain(**fields):
    return CompletionRequest.model_validate({"model": "m", "prompt": "a", **fields})


def chat(**fields):
    return ChatCompletionRequest.model_validate({"model": "m", "messages": HELLO, **fields})


def most_scores(body, samplings, prompts):
    """Count every log-probability of the largest answer, one by one."""
    count = 0
    for sampling, prompt in zip(samplings, prompts, strict=True):
        for _ in range(body.n):
            for _ in prompt:
                count += 0 if body.prompt_logprobs is None else 1 + body.prompt_logprobs
                count += 0 if not body.echo or body.logprobs is None else 1 + body.logprobs
            for _ in range(sampling.max_tokens):
                count += 0 if body.logprobs is None else 1 + body.logprobs
    return count


bodies = st.builds(
    plain,
    n=st.integers(1, 8),
    max_tokens=st.none() | st.integers(1, 40),
    logprobs=st.none() | st.integers(0, 5),
    prompt_logprobs=st.none() | st.integers(0, 20),
    echo=st.booleans(),
)


@given(bodies, st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(1, 60))
def test_no_answer_holds_more_and_none_is_refused_that_holds_less(body, lengths, least):
    prompts = [[0] * length for length in lengths]
    asked = [SamplingParams(max_tokens=body.max_tokens or least) for _ in prompts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pagelet_engine.server.score_caps.MAX_SCORES", 2000)
        try:
            kept = ScoreCap.of(body).applied(asked, prompts)
        except InvalidRequestError:
            shortest = asked if body.max_tokens else [SamplingParams(max_tokens=1)] * len(prompts)
            assert most_scores(body, shortest, prompts) > 2000
            return
        assert most_scores(body, kept, prompts) <= 2000
    if body.max_tokens is not None:
        assert kept == asked  # what was asked for is given


def test_a_length_the_client_leaves_open_is_lowered_and_never_below_min_tokens():
    body = chat(logprobs=True, top_logprobs=20, n=4)
    open_length = SamplingParams(max_tokens=100_000, min_tokens=3)
    (kept,) = ScoreCap.of(body).applied([open_length], [[1, 2]])
    assert kept.max_tokens == MAX_SCORES // (21 * 4)
    with pytest.raises(InvalidRequestError, match="Lower n, max_tokens or top_logprobs"):
        ScoreCap.of(body).applied([SamplingParams(max_tokens=100_000, min_tokens=2000)], [[1, 2]])


def test_chat_without_logprobs_is_never_shortened():
    asked = [SamplingParams(max_tokens=10**6)]
    assert ScoreCap.of(chat(n=128)).applied(asked, [[0] * 10**6]) == asked


def test_the_field_that_asks_too_much_is_named():
    for body, param in (
        (plain(prompt_logprobs=20, n=128, max_tokens=1), "prompt_logprobs"),
        (plain(logprobs=5, n=128, max_tokens=1000), "logprobs"),
        (chat(logprobs=True, top_logprobs=20, n=128, max_completion_tokens=100), "top_logprobs"),
    ):
        length = body.max_tokens or 100
        with pytest.raises(InvalidRequestError, match=str(MAX_SCORES)) as refusal:
            ScoreCap.of(body).applied([SamplingParams(max_tokens=length)], [[0] * 250])
        assert refusal.value.param == param


@pytest.fixture(scope="module")
def server():
    with echo_server(model=MODEL, command=engine_command(EngineConfig(**MODEL))) as server:
        server.wait_ready()
        yield server


@pytest.fixture(scope="module")
def url(server):
    return server.url


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "a" * 250, "n": 128, "prompt_logprobs": 20, "max_tokens": 1},
        {"prompt": ["a" * 250] * 128, "prompt_logprobs": 20, "max_tokens": 1},
        {"prompt": "a" * 250, "n": 128, "logprobs": 5, "echo": True, "stream": True},
        {"prompt": ["a" * 200] * 128, "logprobs": 5, "echo": True, "max_tokens": 1},
        {"prompt": "a", "n": 128, "logprobs": 5, "max_tokens": 200},
    ],
)
def test_a_small_request_for_a_huge_answer_is_refused_with_numbers(url, fields):
    reply = request(url, "POST", TEXT, {"model": "m"} | fields)
    assert reply.status == 400, reply.body[:300]
    error = reply.json["error"]
    assert error["param"] in ("logprobs", "prompt_logprobs")
    assert str(MAX_SCORES) in error["message"]


LARGEST = {
    "the scores of a prompt, for each choice": {
        "prompt": "a" * 250, "n": MAX_SCORES // (250 * 21), "prompt_logprobs": 20, "max_tokens": 1,
    },
    "a prompt's echo, streamed": {
        "prompt": "a" * 240, "n": 80, "logprobs": 5, "echo": True, "max_tokens": 8, "stream": True,
    },
    "many prompts with their echoes": {
        "prompt": ["a" * 150] * 128, "logprobs": 5, "echo": True, "max_tokens": 0,
    },
    "many choices with alternatives": {
        "messages": HELLO, "n": 24, "logprobs": True, "top_logprobs": 20, "max_tokens": 100,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", LARGEST)
def test_the_largest_answer_is_bounded_and_stalls_nobody(server, url, name):
    """Probes come one after the other while the answer is made; none may wait for all of it."""
    probes, done = [], threading.Event()

    def probe():
        while not done.is_set():
            before_s = computed_s([server.process.pid])
            assert request(url, "GET", "/livez").status == 200
            probes.append(computed_s([server.process.pid]) - before_s)

    prober = threading.Thread(target=probe)
    prober.start()
    try:
        path = CHAT if "messages" in LARGEST[name] else TEXT
        reply = request(url, "POST", path, {"model": "m", "ignore_eos": True} | LARGEST[name])
    finally:
        done.set()
        prober.join()
    assert reply.status == 200, reply.body[:300]
    assert 10**6 < len(reply.body) < 24 * 2**20
    assert max(probes) < STALL_S


def test_choices_of_one_prompt_share_its_scores_and_prompts_do_not(url):
    fields = {"model": "m", "prompt_logprobs": 2, "max_tokens": 1, "temperature": 0}
    both = request(url, "POST", TEXT, fields | {"prompt": ["abc", "xyz"], "n": 2}).json["choices"]
    for index, prompt in enumerate(("abc", "abc", "xyz", "xyz")):
        alone = request(url, "POST", TEXT, fields | {"prompt": prompt}).json["choices"][0]
        assert both[index]["prompt_logprobs"] == alone["prompt_logprobs"]
    assert both[0]["prompt_logprobs"] != both[2]["prompt_logprobs"]


def test_a_stream_beside_the_largest_answer_says_what_it_says_alone(url):
    bystander = {"model": "m", "prompt": "once upon a time", "max_tokens": 100, "seed": 7}
    with stream(url, TEXT, bystander) as events:
        alone = text_of(list(events))
    huge = {"model": "m"} | LARGEST["the scores of a prompt, for each choice"]
    with stream(url, TEXT, bystander) as events:
        seen = [next(events)]
        assert request(url, "POST", TEXT, huge).status == 200
        seen += events
    assert text_of(seen) == alone
