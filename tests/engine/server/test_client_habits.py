"""What clients of OpenAI's API and of vLLM do, beyond single fields: random weights, real requests.

Each test is a behaviour that other servers' own tests hold them to; docs/reference/openai-api.md
lists those, and where this server differs.
"""

import json
import math
import sys

import openai
import pytest

from server_client import request, stream
from server_process import echo_server

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "hello"}]
CONFIG = json.dumps({"model": "dummy://tiny", "num_threads": 1, "max_num_seqs": 8})
NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}
NOW = {"type": "function", "function": {"name": "now", "parameters": NOTHING, "strict": True}}
NAMED = {"type": "function", "function": {"name": "now"}}


@pytest.fixture(scope="module")
def url():
    command = [sys.executable, "-m", "pagelet_engine.process", "--config", CONFIG]
    with echo_server(command=command) as server:
        yield server.wait_ready()


@pytest.fixture
def client(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def chat(url, **fields):
    body = {"model": "echo", "messages": HELLO, "max_tokens": 4, "temperature": 0} | fields
    return request(url, "POST", CHAT, body)


def text(url, **fields):
    body = {"model": "echo", "prompt": "hello", "max_tokens": 4, "temperature": 0} | fields
    return request(url, "POST", TEXT, body)


def test_logprobs_can_be_asked_for_without_alternatives(url):
    assert chat(url, logprobs=False).json["choices"][0]["logprobs"] is None
    scored = chat(url, logprobs=True, top_logprobs=0).json["choices"][0]["logprobs"]["content"]
    assert [item["top_logprobs"] for item in scored] == [[]] * 4
    zero = text(url, logprobs=0).json["choices"][0]["logprobs"]
    assert [len(top) for top in zero["top_logprobs"]] == [1] * 4


def test_each_number_of_prompt_logprobs_names_as_many_tokens_and_the_one_that_came(url):
    for count in (0, 1, 2):
        scores = chat(url, prompt_logprobs=count).json["prompt_logprobs"]
        assert scores[0] is None
        assert all(max(count, 1) <= len(score) <= count + 1 for score in scores[1:])
    assert chat(url).json.get("prompt_logprobs") is None


def test_log_probabilities_under_a_constraint_are_finite(url):
    answer = chat(
        url, logprobs=True, top_logprobs=5, structured_outputs={"choice": ["a", "b"]}
    ).json["choices"][0]["logprobs"]["content"]
    for item in answer:
        assert math.isfinite(item["logprob"])
        assert all(math.isfinite(top["logprob"]) for top in item["top_logprobs"])


@pytest.mark.parametrize(
    "fields",
    [
        {"top_logprobs": 21, "logprobs": True},
        {"top_logprobs": -1, "logprobs": True},
        {"prompt_logprobs": -1},
        {"stream_options": {"include_usage": True}},
        {"stream": True, "stream_options": {"include_obfuscation": True}},
        {"stream": True, "stream_options": {"continuous_usage_stats": True}},
        {"seed": 2**63},
        {"seed": -(2**63) - 1},
        {"tool_choice": NAMED},
        {"tools": [NOW], "tool_choice": {}},
        {"tools": [NOW], "tool_choice": {"type": "function", "function": {"name": "then"}}},
        {"response_format": {"type": "json_schema"}},
        {"structured_outputs": {"regex": {"1": "a"}}},
        {"structured_outputs": {"regex": "[.*"}},
        {"structured_outputs": {"grammar": ""}},
        {"structured_outputs": {"grammar": "root ::= nowhere"}},
        {"structured_outputs": {"json": {"type": "object", "properties": {"a": "b"}}}},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        {"messages": [{"role": "user", "content": "hello", "mood": "calm"}]},
        {"messages": [{"role": "narrator", "content": "hello"}]},
        {"stop_token_ids": [-1]},
        {"logit_bias": {"100000": 1}},
        {"echo": True},
        {"return_token_ids": True},
        {"use_beam_search": True},
        {"cache_salt": "mine"},
    ],
    ids=json.dumps,
)
@pytest.mark.parametrize("streams", [False, True])
def test_what_cannot_be_served_is_a_400_streamed_or_not(url, fields, streams):
    if "stream_options" in fields:  # its place depends on `stream` and is given with it
        streams = fields.get("stream", False)
    reply = chat(url, **{"stream": streams} | fields)
    assert reply.status == 400, reply.body
    assert isinstance(reply.json["error"]["code"], str)


@pytest.mark.parametrize(
    "prompt", [None, "", [], [[]], [""], [-1], [[-1]], [999_999], [1.5], {"a": 1}]
)
def test_a_prompt_that_is_none_is_a_400(url, prompt):
    assert text(url, prompt=prompt).status == 400


@pytest.mark.parametrize("raw", [b'"text"', b'["a"]', b"42", b"null", b"{", b""])
@pytest.mark.parametrize("path", [CHAT, TEXT, "/tokenize", "/detokenize"])
def test_a_body_that_is_no_object_is_a_400(url, path, raw):
    assert request(url, "POST", path, raw=raw).status == 400


def test_a_call_and_its_message_go_back_as_the_client_holds_them(client):
    fields = {"model": "echo", "tools": [NOW], "temperature": 0}
    answer = client.chat.completions.create(
        messages=HELLO, tool_choice=NAMED, max_tokens=128, **fields
    )
    message = answer.choices[0].message
    assert message.tool_calls
    for arguments in (message.tool_calls[0].function.arguments, "", "{}"):
        message.tool_calls[0].function.arguments = arguments
        result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "noon"}
        again = client.chat.completions.create(
            messages=[*HELLO, message, result], max_tokens=1, **fields
        )
        assert again.choices[0].finish_reason == "length"


@pytest.mark.parametrize("choice", ["required", NAMED])
def test_a_demanded_call_that_does_not_fit_ends_with_length(url, choice):
    answer = chat(url, tools=[NOW], tool_choice=choice, max_tokens=1).json["choices"][0]
    assert answer["finish_reason"] == "length"
    assert not answer["message"].get("tool_calls")


def test_no_choice_of_tools_and_null_are_the_default(url):
    plain = chat(url, tools=[NOW]).json["choices"][0]["message"]["content"]
    assert (
        chat(url, tools=[NOW], tool_choice=None).json["choices"][0]["message"]["content"] == plain
    )
    assert chat(url, tools=None, tool_choice=None).status == 200


def test_choices_of_several_prompts_come_prompt_by_prompt(url):
    prompts = ["hello", "goodbye", [104, 105]]
    alone = [text(url, prompt=prompt).json["choices"][0]["text"] for prompt in prompts]
    answer = text(url, prompt=["hello", "goodbye"], n=2).json["choices"]
    assert [choice["index"] for choice in answer] == [0, 1, 2, 3]
    assert [choice["text"] for choice in answer] == [alone[0]] * 2 + [alone[1]] * 2


def test_choices_of_one_seed_differ_and_come_again(url):
    asked = {"n": 3, "seed": 42, "temperature": 1.0, "max_tokens": 8}
    first, second = (
        [choice["message"]["content"] for choice in chat(url, **asked).json["choices"]]
        for _ in range(2)
    )
    assert first == second
    assert len(set(first)) > 1


@pytest.mark.parametrize("stop", [None, ["\n\n"]])
def test_streamed_offsets_are_those_of_the_whole_answer(url, stop):
    asked = {"logprobs": 0, "stop": stop, "max_tokens": 8, "seed": 3, "temperature": 1.0}
    whole = text(url, **asked).json["choices"][0]["logprobs"]
    offsets = []
    body = {"model": "echo", "prompt": "hello"} | asked
    with stream(url, TEXT, body) as events:
        for event in events:
            if event != "[DONE]":
                for choice in json.loads(event)["choices"]:
                    offsets += (choice["logprobs"] or {}).get("text_offset", [])
    assert offsets == whole["text_offset"]


@pytest.mark.parametrize("prompt", ["hello", [104, 105, 106]])
@pytest.mark.parametrize("count", [0, 1])
def test_an_echoed_prompt_has_scores_but_for_its_first_token(url, prompt, count):
    choice = text(url, prompt=prompt, echo=True, logprobs=count).json["choices"][0]
    scores = choice["logprobs"]
    assert choice["text"].startswith("hello" if prompt == "hello" else "hij")
    assert scores["token_logprobs"][0] is None
    assert all(score is not None for score in scores["token_logprobs"][1:])
    assert len(scores["tokens"]) == len(scores["text_offset"]) == len(prompt) + 4


def test_usage_comes_in_a_chunk_of_its_own_only_where_it_is_asked_for(client):
    def usages(**options):
        chunks = client.chat.completions.create(
            model="echo", messages=HELLO, max_tokens=4, stream=True, stream_options=options
        )
        return [(chunk.usage, chunk.choices) for chunk in chunks]

    assert all(usage is None for usage, _ in usages(include_usage=False))
    assert all(usage is None for usage, _ in usages())
    assert all(usage is None for usage, _ in usages(include_obfuscation=False))
    *before, (last, choices) = usages(include_usage=True)
    assert all(usage is None for usage, _ in before)
    assert choices == []
    assert last.total_tokens == last.prompt_tokens + last.completion_tokens
