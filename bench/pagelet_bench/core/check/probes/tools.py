"""Tool calls: demanded ones must come and follow their schema, in one piece and streamed."""

from typing import Any

from pagelet_bench.core.check.answers import Answer, Call, arguments_of, ask, must
from pagelet_bench.core.check.exchange import NOT_JSON, Request, parsed
from pagelet_bench.core.check.refusals import ask_refusal, refused
from pagelet_bench.core.check.streams import ask_streamed
from pagelet_bench.core.check.target import Target
from pagelet_bench.core.check.verdict import (
    Finding,
    Need,
    Probe,
    Steps,
    honoured,
    ignored,
    untestable,
    when,
)

_QUESTION = "What is the weather like in Oslo?"
_TOKENS = 96
_ENDS = ("tool_calls", "stop", "length")
"""OpenAI ends a named function with "stop" and a required one with "tool_calls"."""
_ANSWER = "The lighthouse keeper measures nineteen degrees and a gentle wind from the west."


def _tool(name: str, argument: str, values: list[str]) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": {argument: {"type": "string", "enum": values}},
        "required": [argument],
        "additionalProperties": False,
    }
    function = {"name": name, "description": f"Look up {name}.", "parameters": parameters}
    return {"type": "function", "function": function}


_ARGUMENTS = {
    "get_weather": ("city", ("Oslo", "Rome")),
    "get_tide": ("harbour", ("Bergen", "Genoa")),
}
TOOLS = [_tool(name, argument, list(values)) for name, (argument, values) in _ARGUMENTS.items()]


def auto(target: Target) -> Steps:
    """Check that the model is told of its tools; whether it calls one is its own choice."""
    plain = yield from ask(target.chat(_QUESTION, max_tokens=_TOKENS))
    answer = yield from ask(target.chat(_QUESTION, max_tokens=_TOKENS, tools=TOOLS))
    before, after = plain.count("prompt_tokens"), answer.count("prompt_tokens")
    for call in answer.choices[0].calls:
        arguments_of(call)
    return when(
        after > before,
        f"two tools add {after - before} prompt tokens; {len(answer.choices[0].calls)} calls",
        f"the prompt has {after} tokens with and without tools",
    )


def none(target: Target) -> Steps:
    """Check that there is text and no call."""
    answer = yield from ask(
        target.chat(_QUESTION, max_tokens=_TOKENS, tools=TOOLS, tool_choice="none")
    )
    if answer.choices[0].calls:
        return ignored(f"{answer.choices[0].calls[0].name} is called in spite of tool_choice none")
    return when(bool(answer.text), "text and no call", "neither text nor call")


def required(target: Target) -> Steps:
    """Check that a call comes and follows its schema."""
    answer = yield from ask(_demand(target, "required"))
    return _called(answer, tuple(_ARGUMENTS))


def named(target: Target) -> Steps:
    """Demand the tool that does not fit the question."""
    answer = yield from ask(_demand(target, _name("get_tide")))
    return _called(answer, ("get_tide",))


def required_streamed(target: Target) -> Steps:
    """Check that the pieces of a streamed call add up."""
    streamed = yield from ask_streamed(_demand(target, "required", stream=True))
    return _called(streamed.answer, tuple(_ARGUMENTS))


def named_streamed(target: Target) -> Steps:
    """Check that the pieces of a streamed, named call add up."""
    streamed = yield from ask_streamed(_demand(target, _name("get_tide"), stream=True))
    return _called(streamed.answer, ("get_tide",))


def single(target: Target) -> Steps:
    """Check that `parallel_tool_calls: false` leaves one call."""
    answer = yield from ask(_demand(target, "required", parallel_tool_calls=False))
    count = len(answer.choices[0].calls)
    return when(count == 1, "one call", f"{count} calls")


def unknown_name(target: Target) -> Steps:
    """Demand a tool that is not in the list: it must be refused."""
    request = _demand(target, _name("no_such_tool"))
    return refused((yield from ask_refusal(request, "a demand for no tool of the list passes")))


def result(target: Target) -> Steps:
    """Check that a call and its result are part of the prompt."""
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'},
    }
    asked: dict[str, Any] = {"role": "user", "content": _QUESTION}
    history = [
        asked,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": _ANSWER},
    ]
    plain = yield from ask(target.chat([asked], max_tokens=2, tools=TOOLS))
    answer = yield from ask(target.chat(history, max_tokens=2, tools=TOOLS))
    before, after = plain.count("prompt_tokens"), answer.count("prompt_tokens")
    return when(
        after >= before + 10,
        f"a call and its result add {after - before} prompt tokens",
        f"a call and its result add {after - before} prompt tokens: the result is lost",
    )


def _demand(target: Target, choice: Any, **fields: Any) -> Request:
    """Demand a call; `strict` is OpenAI's word that arguments must follow the schema."""
    tools = [{**tool, "function": {**tool["function"], "strict": True}} for tool in TOOLS]
    return target.chat(_QUESTION, max_tokens=_TOKENS, tools=tools, tool_choice=choice, **fields)


def _name(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def _called(answer: Answer, names: tuple[str, ...]) -> Finding:
    calls = answer.choices[0].calls
    if not calls:
        return ignored(f"no call where one is demanded: {_shown(answer)}")
    if any(call.name not in names for call in calls):
        return ignored(f"{[call.name for call in calls]} are called, not {' or '.join(names)}")
    if answer.finish == "length" and parsed(calls[-1].arguments) is NOT_JSON:
        calls = calls[:-1]  # a model may call until it is cut, in the middle of a call
        if not calls:
            return untestable(f"the first call is cut by max_tokens = {_TOKENS}")
    for call in calls:
        _check(call)
    must(answer.finish in _ENDS, f"a call ends with {answer.finish!r}")
    return honoured(f"{calls[0].name}({calls[0].arguments[:60]}), finish_reason {answer.finish}")


def _check(call: Call) -> None:
    argument, values = _ARGUMENTS[call.name]
    given = arguments_of(call)
    fits = set(given) == {argument} and given[argument] in values
    must(fits, f"{call.name} is called with {call.arguments[:80]!r}, which its schema forbids")


def _shown(answer: Answer) -> str:
    calls = answer.choices[0].calls
    return f"a call of {calls[0].name}" if calls else repr(answer.text[:60])


REQ, REF = Need.REQUIRED, Need.REFUSABLE
PROBES = (
    Probe(id="tools.auto", field="tools, tool_choice auto", proves="tools add prompt tokens",
          need=REF, steps=auto),
    Probe(id="tools.none", field="tool_choice none", proves="text and no call", need=REF,
          steps=none),
    Probe(id="tools.required", field="tool_choice required",
          proves="a call whose arguments follow the schema", need=REF, steps=required),
    Probe(id="tools.named", field="tool_choice (named)",
          proves="a call of that function, unfit as it is", need=REF, steps=named),
    Probe(id="tools.required_stream", field="tool_choice required (stream)",
          proves="deltas add up to a call of the schema", need=REF, steps=required_streamed),
    Probe(id="tools.named_stream", field="tool_choice (named, stream)",
          proves="deltas add up to a call of that function", need=REF, steps=named_streamed),
    Probe(id="tools.parallel", field="parallel_tool_calls false", proves="one call",
          need=REF, steps=single),
    Probe(id="tools.unknown_name", field="tool_choice (unknown name)", proves="a 4xx",
          need=REQ, steps=unknown_name),
    Probe(id="tools.result", field="messages (tool)",
          proves="a call and its result add prompt tokens", need=REF, steps=result),
)  # fmt: skip
