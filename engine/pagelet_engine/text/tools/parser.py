"""Finds tool calls in a growing text and passes their arguments on as they come.

Whatever the pieces, text and calls come out the same. What looks like a call and is none (broken
JSON, a tool nobody offered) is text, and comes out as it was written.
"""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass

from pagelet_engine.text.detokenizer import StopStrings
from pagelet_engine.text.tools import CLOSE, OPEN

_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*"([A-Za-z0-9_.-]+)"\s*,\s*"arguments"\s*:\s*(?=\{)')


@dataclass(frozen=True, slots=True)
class CallStart:
    """A call begins; `CallArguments` follow."""

    index: int
    """Which call of this output, from 0."""
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """The next part of a call's arguments, as JSON text."""

    index: int
    text: str


Part = str | CallStart | CallArguments


class ToolCallParser:
    """Splits one output into text and calls."""

    def __init__(self, names: Collection[str]) -> None:
        """Look for calls of the tools in `names`."""
        self._names = frozenset(names)
        self._opening = StopStrings([OPEN])
        self._block: str | None = None
        self._streamed: _Arguments | None = None
        self.num_calls = 0
        """Calls begun so far."""

    def feed(self, text: str) -> list[Part]:
        """Return what has become certain once `text` has been appended."""
        parts: list[Part] = []
        while text:
            text = self._outside(text, parts) if self._block is None else self._inside(text, parts)
        return parts

    def finish(self) -> list[Part]:
        """Return what is left when no more text comes: a call cut short is text, unless begun."""
        if self._block is None:
            rest = self._opening.finish()
        else:
            rest = "" if self._streamed is not None else OPEN + self._block
            self._block = None
        return [rest] if rest else []

    def _outside(self, text: str, parts: list[Part]) -> str:
        """Pass text on up to an opening tag; return what comes after the tag."""
        held = self._opening.finish()
        whole = held + text
        self._opening = StopStrings([OPEN])
        shown = self._opening.feed(whole)
        if shown and not (self.num_calls and shown.isspace()):
            parts.append(shown)  # blanks between calls are notation
        if not self._opening.found:
            return ""
        self._opening = StopStrings([OPEN])
        self._block, self._streamed = "", None
        return whole[len(shown) + len(OPEN) :]

    def _inside(self, text: str, parts: list[Part]) -> str:
        """Read on in a call; return what comes after its closing tag."""
        assert self._block is not None
        known = len(self._block)
        self._block += text
        if self._streamed is None:
            self._try_head(parts)
        elif not self._streamed.is_complete:
            self._pass_on(text, parts)
        end = self._end(known)
        if end is None:
            return ""
        block, rest = self._block[:end], self._block[end + len(CLOSE) :]
        if self._streamed is None:
            self._take_whole(block, parts)
        self._block = None
        return rest

    def _try_head(self, parts: list[Part]) -> None:
        assert self._block is not None
        head = _HEAD.match(self._block)
        if head is None or head[1] not in self._names:
            return
        self._streamed = _Arguments(head.end())
        parts.append(CallStart(self.num_calls, head[1]))
        self.num_calls += 1
        self._pass_on(self._block[head.end() :], parts)

    def _pass_on(self, text: str, parts: list[Part]) -> None:
        assert self._streamed is not None
        taken = self._streamed.take(text)
        if taken:
            parts.append(CallArguments(self.num_calls - 1, text[:taken]))

    def _end(self, known: int) -> int | None:
        """Return where the closing tag starts; one inside the arguments' strings is none."""
        assert self._block is not None
        start = max(known - len(CLOSE) + 1, 0)
        if self._streamed is not None:
            if not self._streamed.is_complete:
                return None
            start = self._streamed.end
        found = self._block.find(CLOSE, start)
        return None if found < 0 else found

    def _take_whole(self, block: str, parts: list[Part]) -> None:
        """Pass on a call whose fields came in another order."""
        call = _read_call(block)
        if call is None or call[0] not in self._names:
            parts.append(OPEN + block + CLOSE)
            return
        parts += [CallStart(self.num_calls, call[0]), CallArguments(self.num_calls, call[1])]
        self.num_calls += 1


class _Arguments:
    """Knows where a JSON object ends."""

    def __init__(self, start: int) -> None:
        self.end = start
        """Just behind what has been taken, in the block."""
        self.is_complete = False
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def take(self, text: str) -> int:
        """Return how many characters of `text` belong to the object."""
        for count, char in enumerate(text, 1):
            self._step(char)
            if self.is_complete:
                self.end += count
                return count
        self.end += len(text)
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


def _read_call(block: str) -> tuple[str, str] | None:
    try:
        call = json.loads(block)
    except (ValueError, RecursionError):
        return None
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return None
    arguments = call.get("arguments", {})
    if not isinstance(arguments, dict):
        return None
    return call["name"], json.dumps(arguments, ensure_ascii=False)
