"""Finds tool calls as Llama 3.1 and its successors write them.

An output calls if it begins with a JSON object, `{"name": ..., "parameters": {...}}`, or wherever
`<|python_tag|>` precedes one; more calls may follow after a semicolon.

Source: Llama 3.1's model card and prompt format, "JSON based tool calling".
"""

import enum
from collections.abc import Collection

from pagelet_engine.text.detokenizer import StopStrings
from pagelet_engine.text.tools.json_call import JsonCall
from pagelet_engine.text.tools.parts import CallStart, Part

PYTHON_TAG = "<|python_tag|>"
_BETWEEN = " \t\r\n;"


class _State(enum.Enum):
    START = enum.auto()
    """Nothing but blanks, or the beginning of the tag."""
    TEXT = enum.auto()
    EXPECT = enum.auto()
    """A tag or a call has come: an object makes a call."""
    CALL = enum.auto()


class LlamaParser:
    """A `CallParser` for Llama's notation."""

    def __init__(self, names: Collection[str]) -> None:
        """Look for calls of the tools in `names`."""
        self._names = frozenset(names)
        self._state = _State.START
        self._held = ""
        """Notation so far, which is text if no call follows."""
        self._tag = StopStrings([PYTHON_TAG])
        self._call: JsonCall | None = None
        self.num_calls = 0

    def feed(self, text: str) -> list[Part]:
        """Return what has become certain once `text` has been appended."""
        parts: list[Part] = []
        while text:
            match self._state:
                case _State.START:
                    text = self._start(text)
                case _State.TEXT:
                    text = self._text(text, parts)
                case _State.EXPECT:
                    text = self._expect(text, parts)
                case _State.CALL:
                    text = self._read(text, parts)
        return parts

    def finish(self) -> list[Part]:
        """Return what is left when no more text comes."""
        rest = self._held + self._tag.finish()
        if self._call is not None:
            rest = "" if self._call.is_call else self._held + self._call.text
        elif self._state is _State.EXPECT and self.num_calls and not rest.strip(_BETWEEN):
            rest = ""
        self._held, self._call = "", None
        return [rest] if rest else []

    def _start(self, text: str) -> str:
        """Decide what the output begins with; return what is still to be read."""
        seen = self._held + text
        begun = seen.lstrip()
        blanks = seen[: len(seen) - len(begun)]
        if begun.startswith(PYTHON_TAG):
            self._held, self._state = blanks + PYTHON_TAG, _State.EXPECT
            return begun[len(PYTHON_TAG) :]
        if begun.startswith("{"):
            self._held, self._state = blanks, _State.EXPECT
            return begun
        if PYTHON_TAG.startswith(begun):
            self._held = seen
            return ""
        self._held, self._state = "", _State.TEXT
        return seen

    def _text(self, text: str, parts: list[Part]) -> str:
        """Pass text on up to a tag; return what comes after the tag."""
        whole = self._tag.finish() + text
        self._tag = StopStrings([PYTHON_TAG])
        shown = self._tag.feed(whole)
        if shown:
            parts.append(shown)
        if not self._tag.found:
            return ""
        self._tag = StopStrings([PYTHON_TAG])
        self._held, self._state = PYTHON_TAG, _State.EXPECT
        return whole[len(shown) + len(PYTHON_TAG) :]

    def _expect(self, text: str, parts: list[Part]) -> str:
        """Read up to an object; return what is still to be read."""
        rest = text.lstrip(_BETWEEN if self.num_calls else None)
        self._held += text[: len(text) - len(rest)]
        if rest.startswith("{"):
            self._call, self._state = JsonCall(self._names, self.num_calls), _State.CALL
        elif rest:
            parts.extend([self._held] if self._held else [])
            self._held, self._state = "", _State.TEXT
        return rest

    def _read(self, text: str, parts: list[Part]) -> str:
        """Read on in an object; return what comes after it."""
        assert self._call is not None, "the state says so"
        taken, found = self._call.take(text)
        parts += found
        if any(isinstance(part, CallStart) for part in found):
            self._held, self.num_calls = "", self.num_calls + 1
        if self._call.is_complete:
            if self._call.is_call:
                self._state = _State.EXPECT
            else:
                parts.append(self._held + self._call.text)
                self._held, self._state = "", _State.TEXT
            self._call = None
        return text[taken:]
