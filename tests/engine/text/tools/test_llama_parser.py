"""Llama's calls come out whole whatever the pieces; what is no call comes out as it was written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine_tool_calls import NAMES, cut, parse
from pagelet_engine.text.tools.llama_parser import LlamaParser
from pagelet_engine.text.tools.parts import CallArguments, CallStart

TAG = "<|python_tag|>"
F = '{"name": "f", "parameters": {}}'
W = '{"type": "function", "name": "get_weather", "parameters": {"a": "}{\\""}}'
ORDER = '{"parameters": {"a": 1}, "name": "f"}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello {", ("hello {", [])),
        (F, ("", [("f", "{}")])),
        (f"\n {F}\n", ("", [("f", "{}")])),
        (f"{TAG}{W}", ("", [("get_weather", '{"a": "}{\\""}')])),
        (f"{F}; {W}", ("", [("f", "{}"), ("get_weather", '{"a": "}{\\""}')])),
        (f"{F} and more", (" and more", [("f", "{}")])),
        (f"Wait. {TAG}{F}", ("Wait. ", [("f", "{}")])),
        (f"Wait. {F}", (f"Wait. {F}", [])),
        (ORDER, ("", [("f", '{"a": 1}')])),
        ('{"name": "unknown", "parameters": {}}', ('{"name": "unknown", "parameters": {}}', [])),
        ('{"answer": 1} {', ('{"answer": 1} {', [])),
        (f'{TAG}search.call(q="x")', (f'{TAG}search.call(q="x")', [])),
        ("<|python_t", ("<|python_t", [])),
        ("  ", ("  ", [])),
        ('{"name": "f", "parameters": {"a": "x', ("", [("f", '{"a": "x')])),
        ('{"name": "f", "para', ('{"name": "f", "para', [])),
        ('{"name": "f", "parameters": 3}', ('{"name": "f", "parameters": 3}', [])),
    ],
)
def test_texts_and_calls_are_told_apart(text, expected):
    assert parse(LlamaParser(NAMES), [text]) == expected
    assert parse(LlamaParser(NAMES), list(text)) == expected


fragments = st.sampled_from(
    [TAG, F, W, ORDER, '{"name": "f", "parameters": ', "{}", "}", ";", " ", "\n", "a", "<|", '"']
)


@given(st.lists(fragments, max_size=10).map("".join), st.data())
def test_where_the_pieces_break_changes_nothing(text, data):
    pieces = cut(text, data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    assert parse(LlamaParser(NAMES), pieces) == parse(LlamaParser(NAMES), [text])


@given(st.text(alphabet='{}"name:f,<|python_tag|>; \\', max_size=40))
def test_what_calls_nothing_comes_out_as_it_was_written(text):
    shown, calls = parse(LlamaParser([]), list(text))
    assert (shown, calls) == (text, [])


def test_arguments_are_passed_on_before_the_call_is_complete():
    parser = LlamaParser(NAMES)
    start = parser.feed('{"name": "f", "parameters": {"a": "long')
    assert start == [CallStart(0, "f"), CallArguments(0, '{"a": "long')]
    assert parser.feed(" text") == [CallArguments(0, " text")]
