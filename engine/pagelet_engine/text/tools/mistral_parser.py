"""Finds tool calls as Mistral's models write them, older and newer ones.

Both begin with `[TOOL_CALLS]`. Older models go on with a JSON list of objects,
`[{"name": ..., "arguments": {...}}, ...]`, newer ones with a name, `[ARGS]` and the arguments, and
repeat all three for each call.

Source: mistral-common's tokenizers, versions 3 to 13.
"""

import enum
import re
from collections.abc import Collection

from pagelet_engine.text.detokenizer import StopStrings
from pagelet_engine.text.tools.json_call import JsonCall, ObjectEnd
from pagelet_engine.text.tools.parts import CallArguments, CallStart, Part
from pagelet_engine.text.tools.shown import ShownText

TOOL_CALLS, ARGS, CALL_ID = "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"
_NAME = re.compile(r"\s*([A-Za-z0-9_.-]+)\s*(?:\[CALL_ID\]\w+)?(?:\[ARGS\])?\s*")
_MAX_NAME_CHARS = 256


class _State(enum.Enum):
    TEXT = enum.auto()
    OPENED = enum.auto()
    """Behind the tag."""
    LIST = enum.auto()
    """Between the objects of a list."""
    NAME = enum.auto()
    CALL = enum.auto()
    """In an object of a list."""
    ARGUMENTS = enum.auto()
    """In the arguments of a call whose name came first."""


class MistralParser:
    """A `CallParser` for Mistral's notation."""

    def __init__(self, names: Collection[str]) -> None:
        """Look for calls of the tools in `names`."""
        self._names = frozenset(names)
        self._state = _State.TEXT
        self._held = ""
        """Notation so far, which is text if no call follows."""
        self._tag = StopStrings([TOOL_CALLS])
        self._word = ""
        """What may be a name, behind the tag."""
        self._call: JsonCall | None = None
        self._arguments = ObjectEnd()
        self._shown = ShownText()
        self.num_calls = 0

    def feed(self, text: str) -> list[Part]:
        """Return what has become certain once `text` has been appended."""
        parts: list[Part] = []
        while text:
            match self._state:
                case _State.TEXT:
                    text = self._text(text, parts)
                case _State.OPENED:
                    text = self._opened(text)
                case _State.LIST:
                    text = self._between(text, parts)
                case _State.NAME:
                    text = self._name(text, parts)
                case _State.CALL:
                    text = self._read(text, parts)
                case _State.ARGUMENTS:
                    text = self._read_arguments(text, parts)
        return parts

    def finish(self) -> list[Part]:
        """Return what is left when no more text comes."""
        parts: list[Part] = []
        rest = self._held + self._word + self._tag.finish()
        if self._call is not None:
            rest = "" if self._call.is_call else rest + self._call.text
        if self._state is not _State.LIST or rest.strip(" ,\t\r\n"):
            self._shown.show(rest, parts)
        self._held, self._word, self._call = "", "", None
        return parts

    def _give_up(self, text: str, parts: list[Part]) -> None:
        """No call follows: what was held is text, and so is what comes."""
        self._shown.show(self._held + text, parts)
        self._held, self._state = "", _State.TEXT

    def _text(self, text: str, parts: list[Part]) -> str:
        """Pass text on up to a tag; return what comes after the tag."""
        whole = self._tag.finish() + text
        self._tag = StopStrings([TOOL_CALLS])
        shown = self._tag.feed(whole)
        self._shown.show(shown, parts)
        if not self._tag.found:
            return ""
        self._tag = StopStrings([TOOL_CALLS])
        self._held, self._state = TOOL_CALLS, _State.OPENED
        return whole[len(shown) + len(TOOL_CALLS) :]

    def _opened(self, text: str) -> str:
        rest = text.lstrip()
        self._held += text[: len(text) - len(rest)]
        if rest.startswith("["):
            self._held, self._state = self._held + "[", _State.LIST
            return rest[1:]
        if rest:
            self._state = _State.NAME
        return rest

    def _between(self, text: str, parts: list[Part]) -> str:
        rest = text.lstrip(" ,\t\r\n")
        self._held += text[: len(text) - len(rest)]
        if not rest:
            return ""
        if rest[0] == "{":
            self._call, self._state = JsonCall(self._names, self.num_calls), _State.CALL
            return rest
        if rest[0] == "]" and self._shown.is_behind_call:  # the list held calls
            self._held, self._state = "", _State.TEXT
        else:
            self._give_up(rest[0], parts)
        return rest[1:]

    def _read(self, text: str, parts: list[Part]) -> str:
        assert self._call is not None, "the state says so"
        taken, found = self._call.take(text)
        parts += found
        if any(isinstance(part, CallStart) for part in found):
            self._held, self.num_calls = "", self.num_calls + 1
            self._shown.begin_call()
        if self._call.is_complete:
            self._state = _State.LIST
            if not self._call.is_call:
                self._give_up(self._call.text, parts)
            self._call = None
        return text[taken:]

    def _name(self, text: str, parts: list[Part]) -> str:
        """Read up to the arguments; return what is still to be read."""
        before, brace, _ = text.partition("{")
        self._word += before
        if not brace and len(self._word) <= _MAX_NAME_CHARS:
            return ""
        word, self._word = self._word, ""
        name = _NAME.fullmatch(word)
        if len(word) > _MAX_NAME_CHARS or name is None or name[1] not in self._names:
            self._give_up("", parts)
            return word + text[len(before) :]
        parts.append(CallStart(self.num_calls, name[1]))
        self.num_calls += 1
        self._held, self._arguments = "", ObjectEnd()
        self._shown.begin_call()
        self._state = _State.ARGUMENTS
        return text[len(before) :]

    def _read_arguments(self, text: str, parts: list[Part]) -> str:
        taken = self._arguments.take(text)
        parts.append(CallArguments(self.num_calls - 1, text[:taken]))
        if self._arguments.is_complete:
            self._state = _State.TEXT
        return text[taken:]
