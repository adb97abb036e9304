"""Outputs that must have a form: prompts ask for prose, so only a constraint gives the form."""

from collections.abc import Callable
from typing import Any

from pagelet_bench.core.check.answers import ask, json_in, read
from pagelet_bench.core.check.exchange import NOT_JSON
from pagelet_bench.core.check.refusals import ask_refusal, refused
from pagelet_bench.core.check.streams import ask_streamed
from pagelet_bench.core.check.target import Target
from pagelet_bench.core.check.verdict import (
    Finding,
    Need,
    Probe,
    Steps,
    broken,
    honoured,
    ignored,
)

_QUESTION = "Tell me about the sea in one sentence. Plain words, not JSON."
_MOODS = ("calm", "wild")
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"mood": {"enum": list(_MOODS)}, "warm": {"type": "boolean"}},
    "required": ["mood", "warm"],
    "additionalProperties": False,
}
"""Small enough that any model ends it within 40 tokens."""

_TOKENS = 64


def text_format(target: Target) -> Steps:
    """Check that the default, spelled out, is served."""
    answer = yield from ask(target.chat(_QUESTION, response_format={"type": "text"}))
    return honoured(f"accepted; {len(answer.text)} characters")


def json_object(target: Target) -> Steps:
    """Demand any JSON object."""
    fields = {"response_format": {"type": "json_object"}, "max_tokens": _TOKENS}
    answer = yield from ask(target.chat(_QUESTION, **fields))
    begun = answer.text.lstrip().startswith("{")
    if answer.finish == "length" and begun:
        return honoured(f"begins an object, cut by max_tokens: {answer.text[:60]!r}")
    if isinstance(json_in(answer.text), dict):
        return honoured(f"a JSON object: {answer.text[:80]!r}")
    if begun:
        return broken(f"an object that ended is no JSON: {answer.text[:80]!r}")
    return ignored(f"no JSON object: {answer.text[:80]!r}")


def json_schema(target: Target) -> Steps:
    """Demand an object of a schema."""
    answer = yield from ask(target.chat(_QUESTION, max_tokens=_TOKENS, **schema_format()))
    return _follows(answer.text, is_of_schema)


def json_schema_streamed(target: Target) -> Steps:
    """Demand an object of a schema, streamed."""
    request = target.chat(_QUESTION, max_tokens=_TOKENS, stream=True, **schema_format())
    streamed = yield from ask_streamed(request)
    return _follows(streamed.answer.text, is_of_schema)


def schema_format() -> dict[str, Any]:
    """Return the field that demands SCHEMA."""
    schema = {"name": "sea", "schema": SCHEMA, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def structured_json(target: Target) -> Steps:
    """Demand a schema by the extension's name."""
    return (yield from _structured(target, {"json": SCHEMA}, is_of_schema))


def structured_regex(target: Target) -> Steps:
    """Demand a regular expression."""
    return (yield from _structured(target, {"regex": "[0-9]{4}-[0-9]{2}"}, _is_month))


def structured_choice(target: Target) -> Steps:
    """Demand one of two texts."""
    return (yield from _structured(target, {"choice": list(_MOODS)}, _is_mood))


def structured_grammar(target: Target) -> Steps:
    """Demand a grammar, in Lark's notation, then in GBNF: servers read one or the other."""
    for text in ('start: "mood=" ("calm" | "wild")', 'root ::= "mood=" ("calm" | "wild")'):
        request = target.chat(_QUESTION, max_tokens=_TOKENS, structured_outputs={"grammar": text})
        exchange = yield request
        if exchange.status != 400:
            break
    return _follows(read(exchange).text, _is_assignment)


def _structured(target: Target, demand: dict[str, Any], holds: Callable[[str], bool]) -> Steps:
    answer = yield from ask(target.chat(_QUESTION, max_tokens=_TOKENS, structured_outputs=demand))
    return _follows(answer.text, holds)


def guided_json(target: Target) -> Steps:
    """Use a name that servers removed: to ignore it would give prose where JSON is expected."""
    answer = yield from ask(target.chat(_QUESTION, max_tokens=_TOKENS, guided_json=SCHEMA))
    return _follows(answer.text, is_of_schema)


def guided_regex(target: Target) -> Steps:
    """Use a name that servers removed."""
    answer = yield from ask(
        target.chat(_QUESTION, max_tokens=_TOKENS, guided_regex="[0-9]{4}-[0-9]{2}")
    )
    return _follows(answer.text, _is_month)


def impossible_schema(target: Target) -> Steps:
    """Demand a schema that is none: it must be refused, not dropped."""
    schema = {"name": "sea", "schema": {"type": "no such type"}, "strict": True}
    fields = {"response_format": {"type": "json_schema", "json_schema": schema}}
    return refused((yield from ask_refusal(target.chat(**fields), "a schema that is none passes")))


def unknown_format(target: Target) -> Steps:
    """Demand a format that does not exist."""
    request = target.chat(response_format={"type": "no_such_format"})
    return refused((yield from ask_refusal(request, "a format that does not exist passes")))


def is_of_schema(text: str) -> bool:
    """Whether a text is JSON of SCHEMA."""
    value = json_in(text)
    return (
        value is not NOT_JSON
        and isinstance(value, dict)
        and set(value) == {"mood", "warm"}
        and value["mood"] in _MOODS
        and isinstance(value["warm"], bool)
    )


def _is_month(text: str) -> bool:
    digits = text.replace("-", "", 1)
    return len(text) == 7 and text[4] == "-" and digits.isascii() and digits.isdecimal()


def _is_mood(text: str) -> bool:
    return text in _MOODS


def _is_assignment(text: str) -> bool:
    return text in ("mood=calm", "mood=wild")


def _follows(text: str, holds: Callable[[str], bool]) -> Finding:
    shown = repr(text[:80])
    return honoured(f"the text is {shown}") if holds(text) else ignored(f"the text is {shown}")


REQ, REF = Need.REQUIRED, Need.REFUSABLE
PROBES = (
    Probe(id="constraints.text", field="response_format text", proves="the request is served",
          need=REQ, steps=text_format),
    Probe(id="constraints.json_object", field="response_format json_object",
          proves="an object, though prose is asked for", need=REF, steps=json_object),
    Probe(id="constraints.json_schema", field="response_format json_schema",
          proves="an object of the schema, though prose is asked for", need=REF, steps=json_schema),
    Probe(id="constraints.json_schema_stream", field="response_format json_schema (stream)",
          proves="chunks add up to an object of the schema", need=REF, steps=json_schema_streamed),
    Probe(id="constraints.structured_json", field="structured_outputs.json",
          proves="an object of the schema", need=REF, steps=structured_json),
    Probe(id="constraints.structured_regex", field="structured_outputs.regex",
          proves="the text matches", need=REF, steps=structured_regex),
    Probe(id="constraints.structured_choice", field="structured_outputs.choice",
          proves="the text is one of two", need=REF, steps=structured_choice),
    Probe(id="constraints.structured_grammar", field="structured_outputs.grammar",
          proves="the text is of the grammar", need=REF, steps=structured_grammar),
    Probe(id="constraints.guided_json", field="guided_json (removed)",
          proves="an object of the schema, or a 4xx", need=REF, steps=guided_json),
    Probe(id="constraints.guided_regex", field="guided_regex (removed)",
          proves="the text matches, or a 4xx", need=REF, steps=guided_regex),
    Probe(id="constraints.bad_schema", field="response_format json_schema (no schema)",
          proves="a 4xx", need=REQ, steps=impossible_schema),
    Probe(id="constraints.unknown_format", field="response_format (unknown type)",
          proves="a 4xx", need=REQ, steps=unknown_format),
)  # fmt: skip
