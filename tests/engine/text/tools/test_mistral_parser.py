"""Mistral's calls come out whole whatever the pieces; what is none comes out as it was written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine_tool_calls import NAMES, cut, parse
from pagelet_engine.text.tools.mistral_parser import MistralParser
from pagelet_engine.text.tools.parts import CallArguments, CallStart

TAG = "[TOOL_CALLS]"
F = '{"name": "f", "arguments": {}}'
W = '{"name": "get_weather", "arguments": {"a": "]}["}}'
UNKNOWN = '{"name": "unknown", "arguments": {}}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello [", ("hello [", [])),
        (f"{TAG}[{F}]", ("", [("f", "{}")])),
        (f"{TAG} [{F}, {W}]\n", ("", [("f", "{}"), ("get_weather", '{"a": "]}["}')])),
        (f"Wait. {TAG}[{F}] Done.", ("Wait.  Done.", [("f", "{}")])),
        (f"{TAG}[{UNKNOWN}]", (f"{TAG}[{UNKNOWN}]", [])),
        (f"{TAG}f[ARGS]{{}}", ("", [("f", "{}")])),
        (f"{TAG}f{{}}{TAG}get_weather[CALL_ID]a1[ARGS]{{\"b\": {{}}}}",
         ("", [("f", "{}"), ("get_weather", '{"b": {}}')])),
        (f"{TAG}other[ARGS]{{}}", (f"{TAG}other[ARGS]{{}}", [])),
        (f"{TAG}other {TAG}f{{}}", (f"{TAG}other ", [("f", "{}")])),
        (f"{TAG} nothing", (f"{TAG} nothing", [])),
        (f"{TAG}[]", (f"{TAG}[]", [])),
        (f"{TAG}[3]", (f"{TAG}[3]", [])),
        ("[TOOL_CA", ("[TOOL_CA", [])),
        (f"{TAG}f[ARGS]{{\"a\": 1", ("", [("f", '{"a": 1')])),
        (f"{TAG}[{F}, ", ("", [("f", "{}")])),
        (f"{TAG}{'x' * 400}{{", (f"{TAG}{'x' * 400}{{", [])),
    ],
)  # fmt: skip
def test_texts_and_calls_are_told_apart(text, expected):
    assert parse(MistralParser(NAMES), [text]) == expected
    assert parse(MistralParser(NAMES), list(text)) == expected


fragments = st.sampled_from(
    [TAG, "[ARGS]", "f", "get_weather", F, W, UNKNOWN, "[", "]", ",", "{}", " ", "\n", "x" * 130]
)


@given(st.lists(fragments, max_size=10).map("".join), st.data())
def test_where_the_pieces_break_changes_nothing(text, data):
    pieces = cut(text, data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    assert parse(MistralParser(NAMES), pieces) == parse(MistralParser(NAMES), [text])


@given(st.lists(fragments, max_size=10).map("".join))
def test_what_calls_nothing_comes_out_as_it_was_written(text):
    assert parse(MistralParser([]), list(text)) == (text, [])


def test_arguments_are_passed_on_before_the_call_is_complete():
    parser = MistralParser(NAMES)
    start = parser.feed(f'{TAG}f[ARGS]{{"a": "long')
    assert start == [CallStart(0, "f"), CallArguments(0, '{"a": "long')]
    assert parser.feed(" text") == [CallArguments(0, " text")]
