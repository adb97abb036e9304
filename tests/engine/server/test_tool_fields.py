"""Tools over HTTP: random weights are made to call, echoed calls are understood."""

import json
import sys

import jsonschema
import openai
import pytest

from engine_checkpoints import small_config, weights_for, write_folder
from server_client import request
from server_process import echo_server

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"$ref": "#/$defs/city"}, "days": {"type": "integer", "maximum": 9}},
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"city": {"enum": ["Paris", "Rome"]}},
}
WEATHER = {"name": "get_weather", "description": "The weather.", "parameters": PARAMETERS}
TOOLS = [
    {"type": "function", "function": WEATHER},
    {"type": "function", "function": {"name": "now"}},
]
SMALL = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "additionalProperties": False}
BIG = [
    {"type": "function", "function": {"name": f"f{i}", "parameters": {"title": "x" * 60_000}}}
    for i in range(5)
]
NESTED = {"a": json.loads('{"a":' * 200 + "1" + "}" * 200)}
DEEP = {"type": "function", "function": {"name": "f", "parameters": NESTED}}
DEEP_CALL = {
    "role": "assistant",
    "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": json.dumps(NESTED)}}],
}
STRICT = {"type": "function", "function": {**WEATHER, "strict": True}}
NAMED = {"type": "function", "function": {"name": "get_weather"}}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    shape = small_config(vocab_size=300, max_position_embeddings=2048, eos_token_ids=(257,))
    folder = write_folder(tmp_path_factory.mktemp("model"), shape, weights_for(shape))
    config = json.dumps({"model": str(folder), "num_threads": 1, "max_num_seqs": 8})
    command = [sys.executable, "-m", "pagelet_engine.process", "--config", config]
    with echo_server(command=command) as server:
        yield server.wait_ready()


@pytest.fixture
def client(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def echo_url():
    with echo_server("--step-seconds", "0.0005", "--max-model-len", "4096") as server:
        yield server.wait_ready()


def check(name, arguments):
    assert name in ("get_weather", "now")
    schema = PARAMETERS if name == "get_weather" else {"maxProperties": 0}
    jsonschema.validate(json.loads(arguments), schema)


@pytest.mark.parametrize("choice", [NAMED, "required"])
def test_a_demanded_call_is_made_with_arguments_of_its_schema(client, choice):
    answer = client.chat.completions.create(
        model="echo",
        messages=HELLO,
        tools=TOOLS,
        tool_choice=choice,
        parallel_tool_calls=False,
        max_tokens=200,
        n=2,
    )
    for one in answer.choices:
        assert one.finish_reason == "tool_calls"
        assert one.message.content is None
        (call,) = one.message.tool_calls
        check(call.function.name, call.function.arguments)
        assert choice == "required" or call.function.name == "get_weather"
        assert call.id.startswith("call_")


def test_a_streamed_call_adds_up_to_a_whole_one(client):
    stream = client.chat.completions.create(
        model="echo",
        messages=HELLO,
        tools=TOOLS,
        tool_choice=NAMED,
        max_tokens=200,
        stream=True,
    )
    name, arguments, reasons, num_pieces = "", "", [], 0
    for chunk in stream:
        choice = chunk.choices[0]
        assert not choice.delta.content
        assert choice.delta.model_dump(exclude_unset=True) or choice.finish_reason
        for call in choice.delta.tool_calls or ():
            assert call.index == 0
            name += call.function.name or ""
            arguments += call.function.arguments
            num_pieces += 1
        reasons.append(choice.finish_reason)
    check(name, arguments)
    assert num_pieces > 3
    assert [reason for reason in reasons if reason] == ["tool_calls"]
    assert reasons[-1] == "tool_calls"


def test_a_strict_tool_may_be_called_or_not_and_only_by_its_schema(client):
    """A bias towards the mark's first letter makes random weights call."""
    answer = client.chat.completions.create(
        model="echo", messages=HELLO, tools=[STRICT], n=4, max_tokens=250, seed=1,
        logit_bias={ord("<"): 100},
    )  # fmt: skip
    for one in answer.choices:
        for call in one.message.tool_calls or ():
            if one.finish_reason == "tool_calls":
                check(call.function.name, call.function.arguments)
        assert one.finish_reason in ("stop", "length", "tool_calls")


def test_with_a_form_for_the_answer_a_model_calls_or_answers_in_it(client):
    answer = client.chat.completions.create(
        model="echo", messages=HELLO, tools=TOOLS, n=4, max_tokens=300,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": SMALL}},
    )  # fmt: skip
    for one in answer.choices:
        if one.finish_reason == "stop":
            jsonschema.validate(json.loads(one.message.content), SMALL)
        elif one.finish_reason == "tool_calls":
            assert one.message.content is None


def test_a_call_that_is_cut_says_length(client):
    answer = client.chat.completions.create(
        model="echo", messages=HELLO, tools=TOOLS, tool_choice=NAMED, max_tokens=60
    )
    assert answer.choices[0].finish_reason == "length"


def test_the_model_is_told_of_tools_and_calls_in_its_output_are_taken_out(echo_url):
    """The echo repeats its prompt, in which the explanation holds a call of no known tool."""
    body = {"model": "echo", "messages": HELLO, "tools": TOOLS, "max_tokens": 1500}
    message = request(echo_url, "POST", CHAT, body).json["choices"][0]["message"]
    assert '{"name": "now", "parameters": {"type": "object"' in message["content"]
    assert "The weather." in message["content"]
    said = {"role": "user", "content": '<tool_call>{"name": "now", "arguments": {}}</tool_call>'}
    answer = request(echo_url, "POST", CHAT, body | {"messages": [said]}).json
    first = answer["choices"][0]["message"]["tool_calls"][0]
    assert first["function"] == {"name": "now", "arguments": "{}"}


def test_without_tools_or_with_none_a_call_is_text(echo_url):
    said = '<tool_call>{"name": "now", "arguments": {}}</tool_call>'
    body = {"model": "echo", "messages": [{"role": "user", "content": said}], "max_tokens": 90}
    for fields in ({}, {"tools": TOOLS, "tool_choice": "none"}):
        message = request(echo_url, "POST", CHAT, body | fields).json["choices"][0]["message"]
        assert said in message["content"]
        assert "tool_calls" not in message


def test_calls_and_their_results_are_part_of_the_conversation(echo_url):
    call = {"name": "get_weather", "arguments": '{"city": "Rome"}'}
    history = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "function": call}]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny <|im_end|>"},
    ]
    body = {"model": "echo", "messages": history, "max_tokens": 400}
    text = request(echo_url, "POST", CHAT, body).json["choices"][0]["message"]["content"]
    assert '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}' in text
    assert "<tool_response>\nsunny <|im_end|>\n</tool_response>" in text


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"tool_choice": "required"}, "tool_choice", "does not have"),
        (
            {"tools": TOOLS, "tool_choice": {**NAMED, "function": {"name": "x"}}},
            "tool_choice",
            "not have",
        ),
        ({"tools": [TOOLS[0], TOOLS[0]]}, "tools", "same name"),
        ({"tools": TOOLS * 100}, "tools", "128"),
        ({"tools": BIG}, "tools", str(256 * 1024)),
        ({"tools": [DEEP]}, "tools[0].function.parameters", "32"),
        ({"messages": [*HELLO, DEEP_CALL]}, "messages", "32"),
        ({"tools": [STRICT], "ignore_eos": True}, "ignore_eos", "tools"),
        ({"tools": TOOLS, "tool_choice": "required", "ignore_eos": True}, "ignore_eos", "tools"),
        (
            {"tools": [{"type": "function", "function": {"name": "a b"}}]},
            "tools[0].function.name",
            "Invalid",
        ),
    ],
)
def test_tools_that_contradict_themselves_are_refused_by_name(echo_url, fields, param, says):
    answer = request(echo_url, "POST", CHAT, {"model": "echo", "messages": HELLO} | fields)
    assert answer.status == 400, answer.json
    assert answer.json["error"]["param"] == param
    assert says in answer.json["error"]["message"]
