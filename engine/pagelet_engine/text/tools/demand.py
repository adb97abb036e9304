"""The grammars that hold a model to its tools, in its own notation of calls.

One makes it call, one leaves it the choice but not the form: text is free until a call's mark has
come, from there on the call follows its schema.
"""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pagelet_engine.constraints import spec
from pagelet_engine.constraints.spec import Constraint
from pagelet_engine.text.tools import CLOSE, OPEN
from pagelet_engine.text.tools.llama_parser import PYTHON_TAG
from pagelet_engine.text.tools.mistral_parser import ARGS, TOOL_CALLS
from pagelet_engine.text.tools.notation import Family, Notation


@dataclass(frozen=True, slots=True)
class Tool:
    """A function a model may call."""

    name: str
    """[A-Za-z0-9_-]+"""
    description: str | None
    parameters: dict[str, Any]
    """JSON schema of its arguments, an object."""


_HERMES = Notation()
_WHITESPACE = {"x-guidance": {"whitespace_pattern": r"[ \n]?"}}
_ANY = r"(.|\n)*"
_MARKS = {Family.HERMES: OPEN, Family.LLAMA: PYTHON_TAG, Family.MISTRAL: TOOL_CALLS}


def calls(
    tools: Sequence[Tool],
    notation: Notation = _HERMES,
    *,
    several: bool,
    param: str,
    loose: Collection[str] = (),
) -> Constraint:
    """Demand one call of one of `tools`, or one or more if `several`.

    Args:
        tools: What may be called.
        notation: How the model writes calls.
        several: Whether more than one call may come.
        param: The request's field, for the error.
        loose: Names of tools whose arguments may be any object.

    Raises:
        InvalidRequestError: The schemas exceed a cap.
    """
    between = {Family.HERMES: "\n", Family.LLAMA: "; ", Family.MISTRAL: ""}[notation.family]
    more = f" ({json.dumps(between)} call)*" if between else " call*"
    if _is_list(notation):
        mark = notation.term(TOOL_CALLS)
        start = (
            f'start: {mark} "[" call{" (" + json.dumps(", ") + " call)*" if several else ""} "]"'
        )
    else:
        start = f"start: call{more if several else ''}"
    rules = [
        start,
        _call_rule(notation, with_mark=True),
        *_tool_rules(tools, notation, param, loose),
    ]
    return spec.grammar("\n".join(rules), param=param)


def may_call(
    tools: Sequence[Tool],
    notation: Notation = _HERMES,
    *,
    several: bool,
    param: str,
    loose: Collection[str] = (),
) -> Constraint:
    """Leave the model free to write or to call, and hold its calls to `tools`; like `calls`.

    Raises:
        InvalidRequestError: The schemas exceed a cap.
    """
    mark = _MARKS[notation.family]
    escaped = re.escape(mark).replace("/", r"\/")
    unmarked = f"/{_ANY}/ & ~/{_ANY}{escaped}{_ANY}/"
    times = "*" if several else "?"
    call = f'"[" call{" (" + json.dumps(", ") + " call)*" if several else ""} "]"'
    call, times = (call, "?") if _is_list(notation) else ("call", times)
    if mark in notation.control_ids:
        start = [f"start: (TEXT {notation.term(mark)} {call}){times} TEXT"]
    else:
        start = [f"start: (marked {call}){times} TEXT", f"marked[lazy]: /{_ANY}{escaped}/"]
    if notation.family is Family.LLAMA:  # here a call needs no mark at the output's beginning
        more = ' ("; " call)*' if several else ""
        mark_term = notation.term(mark)
        unmarked = rf"/(\s*[^{{\s]{_ANY})?/ & ~/{_ANY}{escaped}{_ANY}/"
        start = [f"start: call{more} | {mark_term} call{more} | TEXT"]
    rules = [*start, f"TEXT: {unmarked}", _call_rule(notation, with_mark=False)]
    return spec.grammar(
        "\n".join([*rules, *_tool_rules(tools, notation, param, loose)]), param=param
    )


def _is_list(notation: Notation) -> bool:
    """Whether several calls are one JSON list: Mistral's older models."""
    return notation.family is Family.MISTRAL and ARGS not in notation.control_ids


def _call_rule(notation: Notation, *, with_mark: bool) -> str:
    if notation.family is Family.HERMES:
        mark = f"{notation.term(OPEN)} " if with_mark else ""
        end = f"{json.dumps(chr(10))} {notation.term(CLOSE)}"
        return f"call: {mark}{json.dumps(chr(10))} tool {end}"
    names_first = notation.family is Family.MISTRAL and not _is_list(notation)
    return f"call: {notation.term(TOOL_CALLS)} tool" if names_first and with_mark else "call: tool"


def _tool_rules(
    tools: Sequence[Tool], notation: Notation, param: str, loose: Collection[str]
) -> list[str]:
    # A rule and a document per tool: a schema's references start at its own root.
    rules = ["tool: " + " | ".join(f"tool_{index}" for index in range(len(tools)))]
    key = "parameters" if notation.family is Family.LLAMA else "arguments"
    names_first = notation.family is Family.MISTRAL and not _is_list(notation)
    for index, tool in enumerate(tools):
        schema = {} if tool.name in loose else tool.parameters
        source = spec.json_schema(
            {"type": "object", **schema, **_WHITESPACE}, param=f"{param}[{index}]"
        ).source
        if names_first:
            name = json.dumps(tool.name)
            rules.append(f"tool_{index}: {name} {notation.term(ARGS)} arguments_{index}")
        else:
            head = json.dumps(f'{{"name": {json.dumps(tool.name)}, "{key}": ')
            rules.append(f'tool_{index}: {head} arguments_{index} "}}"')
        rules.append(f"arguments_{index}: %json {source}")
    return rules
