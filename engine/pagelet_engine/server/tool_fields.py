"""`tools`, `tool_choice` and `tool_calls`: what a model may call, must call, and has called.

Source: https://platform.openai.com/docs/api-reference/chat/create (`tools`, `tool_choice`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from pagelet_engine.constraints.spec import Constraint, check_depth, json_schema
from pagelet_engine.errors import InvalidRequestError
from pagelet_engine.server.strict_model import StrictModel
from pagelet_engine.text.tools.demand import Tool, calls, may_call
from pagelet_engine.text.tools.notation import Notation

MAX_TOOLS = 128
MAX_TOOLS_BYTES = 256 * 1024
"""Schemas of all tools of one request together."""
_NOTHING: dict[str, Any] = {"properties": {}, "additionalProperties": False}

ToolName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


def _arguments_object(value: object) -> object:
    """Read arguments, which clients send back as JSON text; templates want the object."""
    try:
        arguments = json.loads(value or "{}") if isinstance(value, str) else value
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise PydanticCustomError("arguments_type", "must be a JSON object as text")
    check_depth(arguments, param="messages")
    return arguments


class FunctionSpec(StrictModel):
    """A function as a client describes it."""

    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolSpec(StrictModel):
    """A tool; functions are the only kind."""

    type: Literal["function"]
    function: FunctionSpec


class NamedFunction(StrictModel):
    """Points at a function."""

    name: ToolName


class NamedTool(StrictModel):
    """Demands a call of one function."""

    type: Literal["function"]
    function: NamedFunction


ToolChoice = Literal["none", "auto", "required"] | NamedTool


class FunctionCall(StrictModel):
    """What a model called."""

    name: str
    arguments: Annotated[
        dict[str, Any],
        BeforeValidator(_arguments_object, json_schema_input_type=str | dict[str, Any]),
    ]


class ToolCall(StrictModel):
    """A call in an assistant's message."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


ToolSpecs = Annotated[list[ToolSpec], Field(max_length=MAX_TOOLS)]


@dataclass(frozen=True, slots=True)
class ToolUse:
    """How one request uses tools."""

    tools: tuple[Tool, ...] = ()
    """Those the model is told of and may call."""
    callable: tuple[Tool, ...] = ()
    """Those a constrained output may call."""
    must: bool = False
    """Whether it has to call."""
    several: bool = True
    """Whether one answer may hold more than one call."""
    loose: frozenset[str] = frozenset()
    """Names of tools whose arguments need not follow their schema."""

    @property
    def is_strict(self) -> bool:
        """Whether calls are held to a schema though the model need not call."""
        return len(self.loose) < len(self.callable)

    def calls(self, notation: Notation) -> Constraint:
        """Return the demand to call.

        Raises:
            InvalidRequestError: The schemas exceed a cap.
        """
        return calls(self.callable, notation, several=self.several, param="tools", loose=self.loose)

    def may_call(self, notation: Notation) -> Constraint:
        """Return the demand to call as the schemas say, or not at all; raises like `calls`."""
        return may_call(
            self.callable, notation, several=self.several, param="tools", loose=self.loose
        )


def tool_use(specs: Sequence[ToolSpec], choice: ToolChoice | None, *, several: bool) -> ToolUse:
    """Return what `tools` and `tool_choice` come to.

    Args:
        specs: The request's tools.
        choice: None means auto.
        several: Whether one answer may hold more than one call.

    Raises:
        InvalidRequestError: They contradict each other, or a schema exceeds a cap.
    """
    tools = tuple(_tool(spec, f"tools[{index}]") for index, spec in enumerate(specs))
    num_bytes = sum(len(json.dumps(tool.parameters)) for tool in tools)
    if num_bytes > MAX_TOOLS_BYTES:
        raise InvalidRequestError(
            f"The schemas of tools take {num_bytes} bytes; at most {MAX_TOOLS_BYTES} are allowed.",
            param="tools",
        )
    if len({tool.name for tool in tools}) < len(tools):
        raise InvalidRequestError("tools has two functions of the same name.", param="tools")
    if choice == "none" or (choice in (None, "auto") and not tools):
        return ToolUse()
    if choice in (None, "auto"):
        strict = {spec.function.name for spec in specs if spec.function.strict}
        loose = frozenset(tool.name for tool in tools) - strict
        return ToolUse(tools, tools, several=several, loose=loose)
    if isinstance(choice, NamedTool):
        chosen = [tool for tool in tools if tool.name == choice.function.name]
        several = False
    else:
        chosen = list(tools)
    if not chosen:
        raise InvalidRequestError(
            "tool_choice demands a call of a function that tools does not have.",
            param="tool_choice",
        )
    return ToolUse(tools, tuple(chosen), must=True, several=several)


def _tool(spec: ToolSpec, param: str) -> Tool:
    function = spec.function
    parameters = _NOTHING if function.parameters is None else function.parameters
    json_schema(parameters, param=f"{param}.function.parameters")
    return Tool(function.name, function.description, {"type": "object", **parameters})
