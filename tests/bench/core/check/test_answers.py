"""What a typed client would trip over is broken, a 4xx is refused, a busy endpoint says nothing."""

import json
from copy import deepcopy

import pytest

from pagelet_bench.core.check.answers import arguments_of, json_in, message, read, read_object
from pagelet_bench.core.check.exchange import NOT_JSON, Exchange
from pagelet_bench.core.check.target import Target
from pagelet_bench.core.check.verdict import JudgedError, Verdict

TARGET = Target(model="m")
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
CHAT = {
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}
    ],
    "usage": {"prompt_tokens": 3},
}
TEXT = {"choices": [{"index": 0, "finish_reason": "length", "text": "hi"}]}


def answered(body, *, chat=True, **changes):
    request = TARGET.chat() if chat else TARGET.complete()
    text = body if isinstance(body, str) else json.dumps(body)
    return Exchange(request=request, **({"status": 200, "text": text} | changes))


def verdict(call, *arguments):
    with pytest.raises(JudgedError) as caught:
        call(*arguments)
    return caught.value.finding.verdict


def changed(body, path, value):
    changed = deepcopy(body)
    *places, last = path
    part = changed
    for place in places:
        part = part[place]
    part[last] = value
    return changed


def test_a_right_answer_is_read_whole():
    answer = read(answered(changed(CHAT, ("choices", 0, "message", "tool_calls"), [CALL])))
    assert (answer.text, answer.finish, answer.count("prompt_tokens")) == ("hi", "stop", 3)
    assert [call.name for call in answer.choices[0].calls] == ["f"]
    assert arguments_of(answer.choices[0].calls[0]) == {"a": 1}
    assert read(answered(TEXT, chat=False)).text == "hi"


def test_a_chat_may_have_no_text_where_a_plain_completion_may_not():
    assert read(answered(changed(CHAT, ("choices", 0, "message", "content"), None))).text == ""
    nothing = changed(TEXT, ("choices", 0, "text"), None)
    assert verdict(read, answered(nothing, chat=False)) is Verdict.BROKEN


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("choices",), []),
        (("choices",), None),
        (("choices", 0), "x"),
        (("choices", 0, "index"), None),
        (("choices", 0, "index"), True),
        (("choices", 0, "finish_reason"), None),
        (("choices", 0, "finish_reason"), "abort"),
        (("choices", 0, "message"), None),
        (("choices", 0, "message", "role"), "user"),
        (("choices", 0, "message", "content"), 1),
        (("choices", 0, "message", "tool_calls"), {}),
        (("choices", 0, "message", "tool_calls"), ["x"]),
        (("choices", 0, "message", "tool_calls"), [CALL | {"type": "tool"}]),
        (("choices", 0, "message", "tool_calls"), [CALL | {"id": ""}]),
        (("choices", 0, "message", "tool_calls"), [CALL | {"id": 1}]),
        (("choices", 0, "message", "tool_calls"), [CALL | {"function": {"name": "f"}}]),
        (
            ("choices", 0, "message", "tool_calls"),
            [CALL | {"function": {"name": "", "arguments": ""}}],
        ),
    ],
)
def test_an_answer_that_clients_cannot_read_is_broken(path, value):
    assert verdict(read, answered(changed(CHAT, path, value))) is Verdict.BROKEN


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (0, Verdict.BROKEN),
        (204, Verdict.BROKEN),
        (302, Verdict.BROKEN),
        (400, Verdict.REFUSED),
        (404, Verdict.REFUSED),
        (408, Verdict.UNTESTABLE),
        (429, Verdict.UNTESTABLE),
        (500, Verdict.BROKEN),
        (501, Verdict.REFUSED),
        (502, Verdict.BROKEN),
        (503, Verdict.UNTESTABLE),
    ],
)
def test_each_status_says_what_it_means(status, said):
    assert verdict(read_object, answered(CHAT, status=status)) is said


def test_a_cut_answer_is_broken_whatever_came_of_it():
    assert verdict(read, answered(CHAT, failure="cut")) is Verdict.BROKEN


def test_a_stream_nobody_asked_for_is_broken():
    kind = {"content-type": "text/event-stream"}
    assert verdict(read_object, answered(CHAT, headers=kind)) is Verdict.BROKEN


@pytest.mark.parametrize("body", ["", "[1]", "null", "{", '{"a": NaN}', "<html>"])
def test_what_is_no_object_is_broken(body):
    assert verdict(read_object, answered(body)) is Verdict.BROKEN


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": "3"}, {"prompt_tokens": -1}])
def test_without_a_count_nothing_can_be_said(usage):
    answer = read(answered(changed(CHAT, ("usage",), usage)))
    assert verdict(answer.count, "prompt_tokens") is Verdict.UNTESTABLE


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "no"}}, "no"),
        ({"error": "no"}, "no"),
        ({"detail": "no"}, "no"),
        ({"message": "no"}, "no"),
        ("plain words", "plain words"),
        ("  ", "(empty body)"),
    ],
)
def test_a_refusal_is_quoted_whatever_its_shape(body, said):
    assert message(answered(body)) == said


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"', "1"])
def test_arguments_that_are_no_object_are_broken(text):
    call = CALL | {"function": {"name": "f", "arguments": text}}
    answer = read(answered(changed(CHAT, ("choices", 0, "message", "tool_calls"), [call])))
    assert verdict(arguments_of, answer.choices[0].calls[0]) is Verdict.BROKEN


def test_blanks_are_no_json():
    assert json_in(" \n") is NOT_JSON
    assert json_in(" null") is None
