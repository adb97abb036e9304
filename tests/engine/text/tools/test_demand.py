"""Each family's grammar takes exactly the calls that its parser reads and the schema allows."""

import json

import pytest

from engine_matching import ARGS_MARK, MARK, fits, may_begin
from engine_tool_calls import parse
from pagelet_engine.text.tools.demand import Tool, calls, may_call
from pagelet_engine.text.tools.notation import Family, Notation

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}
TOOLS = [Tool("f", None, SCHEMA), Tool("g", None, {"type": "object", "maxProperties": 0})]
HERMES = Notation()
LLAMA = Notation(Family.LLAMA, {"<|python_tag|>": MARK})
LLAMA_TEXT = Notation(Family.LLAMA)
MISTRAL = Notation(Family.MISTRAL, {"[TOOL_CALLS]": MARK})
MISTRAL_NAMED = Notation(Family.MISTRAL, {"[TOOL_CALLS]": MARK, "[ARGS]": ARGS_MARK})
ALL = [HERMES, LLAMA, LLAMA_TEXT, MISTRAL, MISTRAL_NAMED]


def hermes(name, arguments):
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def written(notation, *wanted):
    """Return an output with the calls `wanted`, as parts."""
    if notation.family is Family.HERMES:
        return ["\n".join(hermes(*call) for call in wanted)]
    key = "parameters" if notation.family is Family.LLAMA else "arguments"
    objects = [f'{{"name": "{name}", "{key}": {arguments}}}' for name, arguments in wanted]
    if notation.family is Family.LLAMA:
        return ["; ".join(objects)]
    if notation is MISTRAL:
        return [MARK, f"[{', '.join(objects)}]"]
    return [part for name, given in wanted for part in (MARK, name, ARGS_MARK, given)]


def as_text(notation, parts):
    spelled = {MARK: "[TOOL_CALLS]", ARGS_MARK: "[ARGS]"}
    if notation.family is Family.LLAMA:
        spelled[MARK] = "<|python_tag|>"
    return "".join(spelled.get(part, part) for part in parts)


@pytest.mark.parametrize("notation", ALL)
def test_what_the_grammar_takes_the_parser_reads(notation):
    wanted = [("f", '{"a": 12}'), ("g", "{}")]
    parts = written(notation, *wanted)
    assert fits(calls(TOOLS, notation, several=True, param="tools"), *parts)
    assert fits(may_call(TOOLS, notation, several=True, param="tools"), *parts)
    found = parse(notation.parser(["f", "g"]), [as_text(notation, parts)])
    assert found == ("", wanted)


@pytest.mark.parametrize("notation", ALL)
@pytest.mark.parametrize("demand", [calls, may_call])
def test_arguments_outside_the_schema_cannot_be_written(notation, demand):
    held = demand(TOOLS, notation, several=True, param="tools")
    assert not may_begin(held, *written(notation, ("f", '{"b": 1}')))
    assert not may_begin(held, *written(notation, ("h", "{}")))
    loose = demand(TOOLS, notation, several=True, param="tools", loose={"f"})
    assert fits(loose, *written(notation, ("f", '{"b": [1]}')))


@pytest.mark.parametrize("notation", ALL)
def test_one_call_means_one(notation):
    parts = written(notation, ("g", "{}"), ("g", "{}"))
    assert not may_begin(calls(TOOLS, notation, several=False, param="tools"), *parts)
    assert not may_begin(may_call(TOOLS, notation, several=False, param="tools"), *parts)


@pytest.mark.parametrize("notation", ALL)
def test_who_must_call_cannot_write_and_who_may_can(notation):
    assert not may_begin(calls(TOOLS, notation, several=True, param="tools"), "hello")
    free = may_call(TOOLS, notation, several=True, param="tools")
    assert fits(free, "hello")
    assert fits(free, "a < b {} [x]\nend")
    assert fits(free)


def test_text_may_come_before_a_call():
    for notation in (HERMES, MISTRAL, MISTRAL_NAMED):
        free = may_call(TOOLS, notation, several=True, param="tools")
        assert fits(free, "I will. ", *written(notation, ("g", "{}")))


def test_a_mark_spelled_in_letters_opens_no_unchecked_call():
    assert not may_begin(may_call(TOOLS, LLAMA, several=True, param="tools"), "a <|python_tag|>")
    assert not may_begin(may_call(TOOLS, MISTRAL, several=True, param="tools"), "a [TOOL_CALLS]")


def test_a_schemas_references_are_its_own():
    parameters = {"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"const": 1}}}
    tools = [Tool("f", None, parameters), Tool("g", None, {"$defs": {"x": {"const": 2}}})]
    held = calls(tools, several=False, param="tools")
    assert fits(held, hermes("f", json.dumps({"a": 1})))
    assert not may_begin(held, hermes("f", json.dumps({"a": 2})))
