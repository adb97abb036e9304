"""Tells a model of tools when its chat template cannot: all in plain system, user, assistant text.

A template that reads `tools` gets them as its authors meant it, and none of this is used.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pagelet_engine.text.tools import CLOSE, OPEN
from pagelet_engine.text.tools.demand import Tool

Message = Mapping[str, Any]


def as_objects(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Return tools as OpenAI writes them, which is what templates expect."""
    return [{"type": "function", "function": _function(tool)} for tool in tools]


def without_tools(messages: Sequence[Message], tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Return the same conversation in messages that any chat template can write.

    Args:
        messages: With `role` and `content`; assistants' may have `tool_calls`, whose arguments are
            objects.
        tools: What the model may call; none leaves the conversation as it is.
    """
    plain = [_plain(message) for message in messages]
    if not tools:
        return plain
    if plain[0]["role"] in ("system", "developer"):
        first = {**plain[0], "content": f"{plain[0]['content']}\n\n{_explanation(tools)}"}
        return [first, *plain[1:]]
    return [{"role": "system", "content": _explanation(tools)}, *plain]


def _plain(message: Message) -> dict[str, Any]:
    if message["role"] == "tool":
        content = f"<tool_response>\n{message['content']}\n</tool_response>"
        return {"role": "user", "content": content}
    calls = "\n".join(_call(call["function"]) for call in message.get("tool_calls", ()))
    content = "\n".join(part for part in (message["content"], calls) if part)
    kept = {key: value for key, value in message.items() if key != "tool_calls"}
    return {**kept, "content": content}


def _call(function: Mapping[str, Any]) -> str:
    name, arguments = _dumps(function["name"]), _dumps(function["arguments"])
    return f'{OPEN}\n{{"name": {name}, "arguments": {arguments}}}\n{CLOSE}'


def _explanation(tools: Sequence[Tool]) -> str:
    listed = "\n".join(_dumps(_function(tool)) for tool in tools)
    return (
        "You can call functions. These are available, one JSON object a line:\n"
        f"<tools>\n{listed}\n</tools>\n"
        "To call one, write its name and arguments as JSON between tags, like this:\n"
        f'{OPEN}\n{{"name": "the name", "arguments": {{"an argument": "its value"}}}}\n{CLOSE}'
    )


def _function(tool: Tool) -> dict[str, Any]:
    described = {} if tool.description is None else {"description": tool.description}
    return {"name": tool.name, **described, "parameters": tool.parameters}


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
