"""What a client may demand of an output, with the caps that are checked before any compilation.

Pure; the only module here that looks at a schema outside the worker's processes, and it looks at
size and depth alone.
"""

import enum
import json
from typing import Any

import msgspec

from pagelet_engine.errors import InvalidRequestError

MAX_SCHEMA_BYTES = 64 * 1024
MAX_SCHEMA_DEPTH = 32
MAX_REGEX_CHARS = 4096
MAX_GRAMMAR_CHARS = 64 * 1024
MAX_CHOICES = 1024
MAX_CHOICE_CHARS = 1024
COMPILE_LIMIT_S = 5.0
"""Wall time a compilation may take; sensible schemas take milliseconds."""


class ConstraintKind(enum.Enum):
    """How `Constraint.source` is to be read."""

    JSON_SCHEMA = "json_schema"
    """A JSON Schema as JSON."""
    REGEX = "regex"
    """A regular expression the whole output matches; no look-around, no back references."""
    CHOICE = "choice"
    """A JSON list of texts, one of which is the output."""
    GRAMMAR = "grammar"
    """A context-free grammar in Lark's notation, as llguidance reads it."""


class Constraint(msgspec.Struct, frozen=True):
    """A demand on an output; made by the functions below, which check the caps."""

    kind: ConstraintKind
    source: str
    calls: str | None = None
    """A Lark grammar; an output that it derives will do as well."""
    preface: str | None = None
    """Lark rules, of which `preface` derives what comes before the output."""


def any_json_object() -> Constraint:
    """Demand a JSON object, whatever is in it."""
    return Constraint(ConstraintKind.JSON_SCHEMA, '{"type":"object"}')


def json_schema(schema: object, *, param: str) -> Constraint:
    """Demand JSON that `schema` describes.

    Args:
        schema: An object, or true for any JSON; a text is read as JSON first.
        param: The request's field, for the error.

    Raises:
        InvalidRequestError: It is no schema, or exceeds a cap; the message names which.
    """
    if isinstance(schema, str):
        _check_length(len(schema.encode(errors="replace")), MAX_SCHEMA_BYTES, "bytes", param)
        schema = _read_json(schema, param)
    if not isinstance(schema, dict | bool):
        raise InvalidRequestError(f"{param} must be a JSON schema: an object.", param=param)
    check_depth(schema, param=param)
    text = json.dumps(schema)
    _check_length(len(text), MAX_SCHEMA_BYTES, "bytes", param)
    return Constraint(ConstraintKind.JSON_SCHEMA, text)


def regex(pattern: str, *, param: str) -> Constraint:
    """Demand a text that matches `pattern` as a whole.

    Raises:
        InvalidRequestError: It is empty or longer than MAX_REGEX_CHARS.
    """
    _check_not_empty(pattern, param)
    _check_length(len(pattern), MAX_REGEX_CHARS, "characters", param)
    return Constraint(ConstraintKind.REGEX, pattern)


def choice(texts: list[str], *, param: str) -> Constraint:
    """Demand one of `texts`.

    Raises:
        InvalidRequestError: None, too many, an empty or an overlong one.
    """
    _check_not_empty(texts, param)
    _check_length(len(texts), MAX_CHOICES, "choices", param)
    for text in texts:
        _check_not_empty(text, param)
        _check_length(len(text), MAX_CHOICE_CHARS, "characters in one choice", param)
    return Constraint(ConstraintKind.CHOICE, json.dumps(texts))


def grammar(text: str, *, param: str) -> Constraint:
    """Demand a text that the grammar `text` derives.

    Raises:
        InvalidRequestError: It is empty or longer than MAX_GRAMMAR_CHARS.
    """
    _check_not_empty(text, param)
    _check_length(len(text), MAX_GRAMMAR_CHARS, "characters", param)
    return Constraint(ConstraintKind.GRAMMAR, text)


def check_depth(value: object, *, param: str) -> None:
    """Refuse JSON nested deeper than MAX_SCHEMA_DEPTH; no recursion, so depth cannot hurt here.

    Raises:
        InvalidRequestError: It is.
    """
    level: list[Any] = [value]
    for _ in range(MAX_SCHEMA_DEPTH + 1):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise InvalidRequestError(
        f"{param} is nested deeper than {MAX_SCHEMA_DEPTH} levels, the most allowed.", param=param
    )


def _read_json(text: str, param: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidRequestError(f"{param} is a text that is not JSON.", param=param) from None


def _check_not_empty(value: str | list[str], param: str) -> None:
    if not value:
        raise InvalidRequestError(f"{param} is empty, so no output could meet it.", param=param)


def _check_length(length: int, most: int, unit: str, param: str) -> None:
    if length > most:
        raise InvalidRequestError(
            f"{param} has {length} {unit}; at most {most} are allowed.", param=param
        )
