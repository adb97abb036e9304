"""Thoughts over HTTP: the echo repeats its prompt, which the server takes for a thought."""

import json

import openai
import pytest

from pagelet_engine.config import ServerConfig
from pagelet_engine.errors import ConfigError
from server_client import request, stream
from server_process import echo_server

SLOWLY = ("--step-seconds", "0.0005", "--max-model-len", "4096")
CHAT = "/v1/chat/completions"
SAID = "so it is\n</think>\n\nYes. "
MESSAGES = [{"role": "user", "content": SAID}]
TOOL = {"type": "function", "function": {"name": "now"}}
CALL = '<tool_call>{"name": "now", "arguments": {"a": 1}}</tool_call>'


@pytest.fixture(scope="module")
def url():
    listen = {"reasoning_parser": "deepseek_r1"}
    with echo_server(*SLOWLY, listen=listen) as server:
        yield server.wait_ready()


def body(content=SAID, **fields):
    messages = [{"role": "user", "content": content}]
    # What the echo gives back is the message, opened by its role and closed by a control token.
    return {"model": "echo", "messages": messages, "max_tokens": len(content) + 6} | fields


def test_the_openai_client_reads_thought_and_answer(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        answer = client.chat.completions.create(**body())
    message = answer.choices[0].message
    assert message.content == "Yes. "
    assert message.reasoning == message.reasoning_content == "user\nso it is"
    counted = answer.usage.completion_tokens_details.reasoning_tokens
    assert counted == len("\N{BULLET}user\nso it is\n</think>")


def test_a_streamed_thought_adds_up_and_comes_before_the_answer(url):
    thought = answer = ""
    with stream(url, CHAT, body()) as events:
        for event in list(events)[:-1]:
            delta = json.loads(event)["choices"][0]["delta"]
            assert delta.get("reasoning") == delta.get("reasoning_content")
            assert not (delta.get("reasoning") and answer)
            thought += delta.get("reasoning") or ""
            answer += delta.get("content") or ""
    assert (thought, answer) == ("user\nso it is", "Yes. ")


def test_a_thought_that_is_cut_leaves_no_answer(url):
    answer = request(url, "POST", CHAT, body(max_tokens=8)).json
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"] is None
    assert choice["message"]["reasoning"] == "user\nso"
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 8


def test_a_stop_string_acts_on_thoughts_too(url):
    choice = request(url, "POST", CHAT, body(stop="it")).json["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["reasoning"] == "user\nso "


def test_calls_are_found_behind_the_thought_only(url):
    said = f"{CALL}</think>{CALL}"
    choice = request(url, "POST", CHAT, body(said, tools=[TOOL], max_tokens=900)).json["choices"][0]
    message = choice["message"]
    assert CALL in message["reasoning"]
    assert message["tool_calls"][0]["function"] == {"name": "now", "arguments": '{"a": 1}'}


def test_a_continued_answer_holds_no_thought(url):
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b</think>c"}]
    fields = {"messages": said, "continue_final_message": True, "max_tokens": 6}
    message = request(url, "POST", CHAT, body(**fields)).json["choices"][0]["message"]
    assert message["content"] == "user\n"
    assert "reasoning" not in message


def test_a_plain_completion_is_not_split(url):
    text = {"model": "echo", "prompt": "a</think>b", "max_tokens": 10}
    answer = request(url, "POST", "/v1/completions", text).json
    assert answer["choices"][0]["text"] == "a</think>b"
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0


def test_a_thought_sent_back_is_accepted_by_either_name(url):
    for name in ("reasoning", "reasoning_content"):
        said = [*MESSAGES, {"role": "assistant", "content": "x", name: "y"}, *MESSAGES]
        assert request(url, "POST", CHAT, body(messages=said)).status == 200


def test_an_unknown_parser_is_a_configuration_error():
    with pytest.raises(ConfigError, match="reasoning_parser is 'x'; choose one of auto"):
        ServerConfig(reasoning_parser="x")
