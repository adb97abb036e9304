"""Reads one call written as a JSON object, `{"name": ..., "parameters": {...}}`, while it comes."""

import json
import re
from collections.abc import Collection

from pagelet_engine.text.tools.parts import CallArguments, CallStart, Part

_KEYS = ("arguments", "parameters")
_HEAD = re.compile(
    r'\s*\{\s*(?:"type"\s*:\s*"function"\s*,\s*)?"name"\s*:\s*"([A-Za-z0-9_.-]+)"\s*,'
    r'\s*"(?:arguments|parameters)"\s*:\s*(?=\{)'
)


class ObjectEnd:
    """Knows where a JSON object ends."""

    def __init__(self) -> None:
        self.is_complete = False
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def take(self, text: str) -> int:
        """Return how many characters of `text` belong to the object."""
        for count, char in enumerate(text, 1):
            self._step(char)
            if self.is_complete:
                return count
        return len(text)

    def _step(self, char: str) -> None:
        if self._in_string:
            self._in_string = char != '"' or self._escaped
            self._escaped = char == "\\" and not self._escaped
        elif char == '"':
            self._in_string = True
        elif char in "{[":
            self._depth += 1
        elif char in "}]":
            self._depth -= 1
            self.is_complete = self._depth == 0


class JsonCall:
    """One object that may be a call; its arguments are passed on as soon as its name is known."""

    def __init__(self, names: Collection[str], index: int) -> None:
        """Read a call of one of the tools in `names`, the output's call number `index`."""
        self._names = names
        self._index = index
        self._whole = ObjectEnd()
        self._arguments: ObjectEnd | None = None
        self.text = ""
        """What has been taken, as it was written; no longer kept once it is a call."""
        self.is_call = False

    @property
    def is_complete(self) -> bool:
        """Whether the object has ended."""
        return self._whole.is_complete

    def take(self, text: str) -> tuple[int, list[Part]]:
        """Return how many characters of `text` belong to the object, and what they tell."""
        taken = self._whole.take(text)
        if self._arguments is not None:
            return taken, self._pass_on(text[:taken])
        self.text += text[:taken]
        head = _HEAD.match(self.text)
        if head is not None and head[1] in self._names:
            self.is_call, self._arguments = True, ObjectEnd()
            rest = self.text[head.end() :]
            return taken, [CallStart(self._index, head[1]), *self._pass_on(rest)]
        return taken, self._read_whole() if self.is_complete else []

    def _pass_on(self, text: str) -> list[Part]:
        assert self._arguments is not None, "the head has been read"
        if self._arguments.is_complete:
            return []
        taken = self._arguments.take(text)
        return [CallArguments(self._index, text[:taken])] if taken else []

    def _read_whole(self) -> list[Part]:
        """Return a call whose fields came in another order."""
        call = read_call(self.text)
        if call is None or call[0] not in self._names:
            return []
        self.is_call = True
        return [CallStart(self._index, call[0]), CallArguments(self._index, call[1])]


def read_call(text: str) -> tuple[str, str] | None:
    """Return the name and the arguments, as JSON, of the call that `text` is, or None."""
    try:
        call = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return None
    arguments: object = next((call[key] for key in _KEYS if key in call), {})
    if not isinstance(arguments, dict):
        return None
    return call["name"], json.dumps(arguments, ensure_ascii=False)
