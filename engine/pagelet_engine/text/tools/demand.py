"""The constraint that makes a model call tools and gives every call arguments of its schema."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pagelet_engine.constraints import spec
from pagelet_engine.constraints.spec import Constraint
from pagelet_engine.text.tools import CLOSE, OPEN


@dataclass(frozen=True, slots=True)
class Tool:
    """A function a model may call."""

    name: str
    """[A-Za-z0-9_-]+"""
    description: str | None
    parameters: dict[str, Any]
    """JSON schema of its arguments, an object."""


def calls(tools: Sequence[Tool], *, several: bool, param: str) -> Constraint:
    """Demand one call of one of `tools`, or one or more if `several`.

    Raises:
        InvalidRequestError: The schemas exceed a cap.
    """
    # A rule and a document per tool: a schema's references start at its own root.
    rules = [f"start: call ({json.dumps(chr(10))} call)*" if several else "start: call"]
    names = " | ".join(f"tool_{index}" for index in range(len(tools)))
    rules.append(f"call: {json.dumps(OPEN + chr(10))} ({names}) {json.dumps(chr(10) + CLOSE)}")
    for index, tool in enumerate(tools):
        schema = spec.json_schema(
            {"type": "object", **tool.parameters, **_WHITESPACE}, param=f"{param}[{index}]"
        ).source
        head = json.dumps(f'{{"name": {json.dumps(tool.name)}, "arguments": ')
        rules.append(f'tool_{index}: {head} arguments_{index} "}}"')
        rules.append(f"arguments_{index}: %json {schema}")
    return spec.grammar("\n".join(rules), param=param)


_WHITESPACE = {"x-guidance": {"whitespace_pattern": r"[ \n]?"}}
