"""Calls come out whole whatever the pieces; what is no call comes out as it was written."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine_tool_calls import NAMES, cut
from engine_tool_calls import parse as parse_with
from pagelet_engine.text.tools.parser import ToolCallParser
from pagelet_engine.text.tools.parts import CallArguments


def parse(pieces):
    return parse_with(ToolCallParser(NAMES), pieces)


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
        ('<tool_call>{"name": "f"}</tool_call>\n', ("", [("f", "{}")])),
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
     '{"name": "f", "arguments": {}}</tool_call>', " ", "\n", "word", "<", '"', "\\"]
)  # fmt: skip


@given(st.lists(fragments, max_size=12).map("".join), st.data())
def test_where_the_pieces_break_changes_nothing(text, data):
    pieces = cut(text, data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    assert parse(pieces) == parse([text])


def test_arguments_are_passed_on_before_the_call_is_complete():
    parser = ToolCallParser(NAMES)
    assert parser.feed('<tool_call>\n{"name": "f", "arguments": {"a": "long')[1:] == [
        CallArguments(0, '{"a": "long')
    ]
    assert parser.feed(" text") == [CallArguments(0, " text")]
