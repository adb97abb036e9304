"""Finds tool calls as Hermes and Qwen write them: JSON between `<tool_call>` and `</tool_call>`."""

import re
from collections.abc import Collection

from pagelet_engine.text.detokenizer import StopStrings
from pagelet_engine.text.tools import CLOSE, OPEN
from pagelet_engine.text.tools.json_call import ObjectEnd, read_call
from pagelet_engine.text.tools.parts import CallArguments, CallStart, Part
from pagelet_engine.text.tools.shown import ShownText

_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*"([A-Za-z0-9_.-]+)"\s*,\s*"arguments"\s*:\s*(?=\{)')


class ToolCallParser:
    """A `CallParser` for the notation of Hermes."""

    def __init__(self, names: Collection[str]) -> None:
        """Look for calls of the tools in `names`."""
        self._names = frozenset(names)
        self._opening = StopStrings([OPEN])
        self._block: str | None = None
        self._streamed: ObjectEnd | None = None
        self._arguments_end = 0
        """Just behind the arguments taken so far, in the block."""
        self._shown = ShownText()
        self.num_calls = 0

    def feed(self, text: str) -> list[Part]:
        """Return what has become certain once `text` has been appended."""
        parts: list[Part] = []
        while text:
            text = self._outside(text, parts) if self._block is None else self._inside(text, parts)
        return parts

    def finish(self) -> list[Part]:
        """Return what is left when no more text comes: a call cut short is text, unless begun."""
        parts: list[Part] = []
        if self._block is None:
            self._shown.show(self._opening.finish(), parts)
        elif self._streamed is None:
            self._shown.show(OPEN + self._block, parts)
        self._block = None
        return parts

    def _outside(self, text: str, parts: list[Part]) -> str:
        """Pass text on up to an opening tag; return what comes after the tag."""
        held = self._opening.finish()
        whole = held + text
        self._opening = StopStrings([OPEN])
        shown = self._opening.feed(whole)
        self._shown.show(shown, parts)
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
        self._streamed, self._arguments_end = ObjectEnd(), head.end()
        self._shown.begin_call()
        parts.append(CallStart(self.num_calls, head[1]))
        self.num_calls += 1
        self._pass_on(self._block[head.end() :], parts)

    def _pass_on(self, text: str, parts: list[Part]) -> None:
        assert self._streamed is not None
        taken = self._streamed.take(text)
        self._arguments_end += taken
        if taken:
            parts.append(CallArguments(self.num_calls - 1, text[:taken]))

    def _end(self, known: int) -> int | None:
        """Return where the closing tag starts; one inside the arguments' strings is none."""
        assert self._block is not None
        start = max(known - len(CLOSE) + 1, 0)
        if self._streamed is not None:
            if not self._streamed.is_complete:
                return None
            start = self._arguments_end
        found = self._block.find(CLOSE, start)
        return None if found < 0 else found

    def _take_whole(self, block: str, parts: list[Part]) -> None:
        """Pass on a call whose fields came in another order."""
        call = read_call(block)
        if call is None or call[0] not in self._names:
            self._shown.show(OPEN + block + CLOSE, parts)
            return
        self._shown.begin_call()
        parts += [CallStart(self.num_calls, call[0]), CallArguments(self.num_calls, call[1])]
        self.num_calls += 1
