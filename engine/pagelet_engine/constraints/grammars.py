"""From a constraint to the one grammar that llguidance compiles."""

import json
from typing import Any

from llguidance import LLMatcher

from pagelet_engine.constraints.spec import Constraint, ConstraintKind

_WHITESPACE = r"[ \n]?"
"""Between JSON's parts: enough for every usual style on one line. Any amount would let a model
write blanks until its tokens are used up."""


def grammar_of(constraint: Constraint) -> str:
    """Return the grammar, in Lark's notation or as llguidance's JSON.

    Each part is a grammar of its own within it, so that no rule's name can meet another's.
    """
    output = _output(constraint)
    if constraint.calls is None and constraint.preface is None:
        return output
    parts = {"output": _as_part(output)}
    start = "@output"
    if constraint.calls is not None:
        parts["calls"] = {"lark_grammar": constraint.calls}
        start = "(@calls | @output)"
    lines = [f"start: {start}"]
    if constraint.preface is not None:
        lines = [f"start: preface {start}", constraint.preface]
    main = {"name": "main", "lark_grammar": "\n".join([*lines, ""])}
    named = [{**part, "name": name} for name, part in parts.items()]
    return json.dumps({"grammars": [main, *named]})


def _output(constraint: Constraint) -> str:
    source = constraint.source
    match constraint.kind:
        case ConstraintKind.JSON_SCHEMA:
            return LLMatcher.grammar_from_json_schema(
                source, overrides={"whitespace_pattern": _WHITESPACE}
            )
        case ConstraintKind.REGEX:
            return LLMatcher.grammar_from_regex(source)
        case ConstraintKind.CHOICE:
            choices = " | ".join(json.dumps(text) for text in json.loads(source))
            return LLMatcher.grammar_from_lark(f"start: {choices}")
        case ConstraintKind.GRAMMAR:
            return LLMatcher.grammar_from_lark(source)


def _as_part(grammar: str) -> dict[str, Any]:
    if not grammar.startswith('{"grammars"'):
        return {"lark_grammar": grammar}
    part: dict[str, Any] = json.loads(grammar)["grammars"][0]
    return {key: value for key, value in part.items() if value is not None}
