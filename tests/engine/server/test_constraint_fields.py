"""`response_format` and `structured_outputs` over HTTP, with random weights behind the server."""

import json
import sys

import jsonschema
import openai
import pytest

from server_client import request, stream, text_of
from server_process import echo_server

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "hello"}]
CONFIG = json.dumps({"model": "dummy://tiny", "num_threads": 1, "max_num_seqs": 8})
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 4},
        "kind": {"enum": ["a", "b"]},
        "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3},
    },
    "required": ["name", "kind", "tags"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "thing", "schema": SCHEMA}}


@pytest.fixture(scope="module")
def url():
    command = [sys.executable, "-m", "pagelet_engine.process", "--config", CONFIG]
    with echo_server(command=command) as server:
        yield server.wait_ready()


@pytest.fixture
def client(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def completion(url, **fields):
    return request(url, "POST", TEXT, {"model": "echo", "prompt": "a", "max_tokens": 300} | fields)


def text(url, **fields):
    answer = completion(url, **fields)
    assert answer.status == 200, answer.json
    return answer.json["choices"][0]["text"]


@pytest.mark.parametrize("temperature", [0, 1.5])
def test_every_choice_is_json_of_the_schema(client, temperature):
    answer = client.chat.completions.create(
        model="echo",
        messages=HELLO,
        n=3,
        temperature=temperature,
        response_format=FORMAT,
        max_tokens=300,
    )
    for choice in answer.choices:
        assert choice.finish_reason == "stop"
        jsonschema.validate(json.loads(choice.message.content), SCHEMA)


def test_a_stream_is_json_as_well(url):
    body = {"model": "echo", "messages": HELLO, "response_format": FORMAT, "stream": True}
    with stream(url, CHAT, body) as events:
        jsonschema.validate(json.loads(text_of(list(events))), SCHEMA)


def test_the_other_demands_are_met_too(url):
    assert text(url, structured_outputs={"choice": ["yes", "no"]}) in ("yes", "no")
    assert len(text(url, structured_outputs={"regex": "[0-9]{7}"})) == 7
    assert text(url, structured_outputs={"grammar": 'start: "x" "y"'}) == "xy"
    assert isinstance(json.loads(text(url, structured_outputs={"json": SCHEMA})), dict)
    assert text(url, response_format={"type": "json_object"}, max_tokens=2).startswith("{")


def test_a_demand_and_a_least_length_are_met_together(url):
    fields = {"structured_outputs": {"regex": "[0-9]*"}, "min_tokens": 9, "max_tokens": 20}
    assert 9 <= len(text(url, **fields)) <= 20


def test_a_demand_and_allowed_tokens_are_met_together(url):
    digits = {"structured_outputs": {"regex": "[0-9]{5,}"}, "allowed_token_ids": [ord("7")]}
    assert text(url, **digits, max_tokens=5) == "77777"


@pytest.mark.parametrize("fields", [{"min_tokens": 5}, {"allowed_token_ids": [ord("x")]}])
def test_settings_that_leave_no_token_end_the_request_with_the_reason(url, fields):
    answer = completion(url, structured_outputs={"choice": ["yes"]}, **fields)
    assert answer.status == 400, answer.json
    assert "no token is left" in answer.json["error"]["message"]


def test_text_is_no_demand(url):
    assert completion(url, response_format={"type": "text"}, max_tokens=2).status == 200


def test_a_constrained_output_that_is_cut_says_length(url):
    answer = completion(url, structured_outputs={"regex": "[0-9]{70}"}, max_tokens=3)
    assert answer.json["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"guided_json": {}}, "guided_json", "structured_outputs"),
        ({"guided_regex": "a"}, "guided_regex", "structured_outputs"),
        ({"functions": []}, "functions", "tools"),
        ({"structured_outputs": {"nope": 1}}, "structured_outputs.nope", "Unrecognized"),
        ({"structured_outputs": {}}, "structured_outputs", "exactly one"),
        ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, "structured_outputs", "one"),
        ({"structured_outputs": {"json_object": False}}, "structured_outputs", "exactly one"),
        ({"structured_outputs": {"json": ""}}, "structured_outputs.json", "not JSON"),
        ({"structured_outputs": {"regex": "(["}}, "structured_outputs.regex", "unclosed"),
        ({"structured_outputs": {"grammar": "start: x"}}, "structured_outputs.grammar", "x"),
        ({"structured_outputs": {"regex": "a" * 5000}}, "structured_outputs.regex", "4096"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "Invalid"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing"),
        (
            {"response_format": FORMAT, "structured_outputs": {"regex": "a"}},
            "structured_outputs",
            "one of them",
        ),
        ({"response_format": FORMAT, "ignore_eos": True}, "ignore_eos", "contradicts"),
    ],
)
def test_what_cannot_be_demanded_is_refused_by_name(url, fields, param, says):
    answer = completion(url, **fields)
    assert answer.status == 400, answer.json
    assert answer.json["error"]["param"] == param
    assert says in answer.json["error"]["message"]
