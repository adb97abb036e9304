"""What a request may tell the chat template, over HTTP."""

import json

import openai
import pytest

from server_client import request
from server_process import echo_server

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]
BEGUN = [*HELLO, {"role": "assistant", "content": "Once upon "}]
CALL = {"id": "1", "function": {"name": "f", "arguments": "{}"}}
NESTED = json.loads('{"a":' * 40 + "1" + "}" * 40)


@pytest.fixture(scope="module")
def url():
    with echo_server("--step-seconds", "0.0005") as server:
        yield server.wait_ready()


def tokens(url, **fields):
    reply = request(url, "POST", "/tokenize", {"messages": BEGUN} | fields)
    assert reply.status == 200, reply.json
    return bytes(token for token in reply.json["tokens"] if token < 256).decode()


def test_the_last_message_is_continued_or_closed_or_answered(url):
    head = "user\nhello\nassistant\nOnce upon "
    assert tokens(url) == head + "\nassistant\n"
    assert tokens(url, add_generation_prompt=False) == head + "\n"
    assert tokens(url, continue_final_message=True) == head
    both = {"continue_final_message": True, "add_generation_prompt": False}
    assert tokens(url, **both) == head


def test_the_openai_client_gets_only_what_is_new(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        answer = client.chat.completions.create(
            model="echo",
            messages=BEGUN,
            max_tokens=5,
            extra_body={"continue_final_message": True},
        )
    assert answer.choices[0].message.content == "user"  # the echo begins with the prompt's start
    assert answer.usage.prompt_tokens == len("user\nhello\nassistant\nOnce upon ") + 3


@pytest.mark.parametrize("path", [CHAT, "/tokenize"])
@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"continue_final_message": True, "add_generation_prompt": True}, 0, "one of them"),
        ({"messages": HELLO, "continue_final_message": True}, 0, "from the assistant"),
        (
            {
                "messages": [*HELLO, {"role": "assistant", "tool_calls": [CALL]}],
                "continue_final_message": True,
            },
            0,
            "without tool_calls",
        ),
        ({"chat_template_kwargs": {"enable_thinking": True}}, 1, "takes: none"),
        ({"chat_template_kwargs": {"messages": []}}, 1, "field of its own"),
        ({"chat_template_kwargs": {"bos_token": "x"}}, 1, "is the model's"),
        ({"chat_template_kwargs": {"x": "y" * 70_000}}, 1, "65536 bytes"),
        ({"chat_template_kwargs": {f"v{i}": 1 for i in range(33)}}, 1, "32"),
        ({"chat_template_kwargs": {"x": NESTED}}, 1, "deeper than 32"),
        ({"chat_template_kwargs": []}, 1, "Invalid"),
    ],
)
def test_what_contradicts_or_cannot_be_told_is_refused(url, path, fields, param, says):
    reply = request(url, "POST", path, {"model": "echo", "messages": BEGUN} | fields)
    assert reply.status == 400, reply.json
    name = ("continue_final_message", "chat_template_kwargs")[param]
    assert reply.json["error"]["param"] == name
    assert says in reply.json["error"]["message"]


def test_a_variables_name_must_be_a_name(url):
    body = {"model": "echo", "messages": HELLO, "chat_template_kwargs": {"a b": 1}}
    assert request(url, "POST", CHAT, body).status == 400
