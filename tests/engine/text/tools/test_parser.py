"""Calls come out whole whatever the pieces; what is no call comes out as it was written."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_engine.text.tools.parser import CallArguments, CallStart, ToolCallParser

NAMES = ["f", "get_weather"]


def parse(pieces):
    parser = ToolCallParser(NAMES)
    parts = [part for piece in pieces for part in parser.feed(piece)] + parser.finish()
    text = "".join(part for part in parts if isinstance(part, str))
    calls = [[part.name, ""] for part in parts if isinstance(part, CallStart)]
    for part in parts:
        if isinstance(part, CallArguments):
            calls[part.index][1] += part.text
    assert parser.num_calls == len(calls)
    return text, [tuple(call) for call in calls]


def call(name, arguments, dumps=json.dumps):
    return f'<tool_call>\n{{"name": "{name}", "arguments": {dumps(arguments)}}}\n</tool_call>'


TRICKY = {"a": 'x</tool_call>"}', "b": [{"c": "\\"}], "é": "{[<tool_call>"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", ("hello", [])),
        (call("f", TRICKY), ("", [("f", json.dumps(TRICKY))])),
        ("I will. " + call("f", {}), ("I will. ", [("f", "{}")])),
        (call("f", {}) + "\n" + call("get_weather", {"a": 1}),
         ("", [("f", "{}"), ("get_weather", '{"a": 1}')])),
        (call("unknown", {}), (call("unknown", {}), [])),
        ("<tool_call>not json</tool_call>!", ("<tool_call>not json</tool_call>!", [])),
        ('<tool_call>{"arguments": {"a": 1}, "name": "f"}</tool_call>', ("", [("f", '{"a": 1}')])),
        ('<tool_call>{"name": "f"}</tool_call>', ("", [("f", "{}")])),
        ('<tool_call>{"name": "f", "arguments": 3}</tool_call>',
         ('<tool_call>{"name": "f", "arguments": 3}</tool_call>', [])),
        ("a <tool_cal", ("a <tool_cal", [])),
        ("a < b <tool_call> {", ("a < b <tool_call> {", [])),
        ('<tool_call>{"name": "f", "arguments": {"a": "x', ("", [("f", '{"a": "x')])),
    ],
)  # fmt: skip
def test_texts_and_calls_are_told_apart(text, expected):
    assert parse([text]) == expected
    assert parse(list(text)) == expected


fragments = st.sampled_from(
    ["<tool_call>", "</tool_call>", '{"name": "f", "arguments": ', "{}",
     '{"a": "<tool_call>"}', "}",
     " ", "\n", "word", "<", '"', "\\"]
)  # fmt: skip


@given(st.lists(fragments, max_size=12).map("".join), st.data())
def test_where_the_pieces_break_changes_nothing(text, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert parse(pieces) == parse([text])


def test_arguments_are_passed_on_before_the_call_is_complete():
    parser = ToolCallParser(NAMES)
    assert parser.feed('<tool_call>\n{"name": "f", "arguments": {"a": "long')[1:] == [
        CallArguments(0, '{"a": "long')
    ]
    assert parser.feed(" text") == [CallArguments(0, " text")]
