"""Decodes a growing sequence piece by piece, and finds stop strings on the way.

Both hold text back only as long as the next token could still change it: bytes that begin a
character, characters that begin a stop string. Whatever the pieces, the parts add up to what
decoding the whole at once gives. Pure; knows neither tokens' spelling nor streams.
"""

import codecs
from collections.abc import Callable, Iterable, Sequence


class Detokenizer:
    """Incremental UTF-8 over tokens' bytes: U+FFFD appears only for bytes that are no UTF-8."""

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, token_ids: Iterable[int]) -> str:
        """Return the text that is certain once `token_ids` have been appended."""
        return self._decoder.decode(b"".join(map(self._token_bytes, token_ids)))

    def finish(self) -> str:
        """Return what an incomplete last character comes to."""
        return self._decoder.decode(b"", final=True)


class StopStrings:
    """Cuts a text at the first stop string to be completed, wherever the pieces break."""

    def __init__(self, stops: Sequence[str], *, include: bool = False) -> None:
        """Look for `stops`, none of which may be empty; if `include`, cut behind the match."""
        assert all(stops), "an empty stop string would match everywhere"
        self._stops = tuple(stops)
        self._include = include
        self._held = ""
        self.found = False
        """Whether a stop string has been seen; nothing comes out after that."""

    def feed(self, text: str) -> str:
        """Return the text that can be shown, up to a stop string or its possible beginning."""
        if self.found:
            return ""
        text = self._held + text
        end = self._first_match(text)
        if end is not None:
            self.found, self._held = True, ""
            return text[:end]
        num_held = self._num_possible(text)
        shown = len(text) - num_held
        self._held = text[shown:]
        return text[:shown]

    def finish(self) -> str:
        """Return what was held back: no stop string can come any more."""
        held, self._held = self._held, ""
        return held

    def _first_match(self, text: str) -> int | None:
        """Return where to cut: at the match that ends first; of several, the longest."""
        matches = [
            (start + len(stop), start) for stop in self._stops if (start := text.find(stop)) >= 0
        ]
        if not matches:
            return None
        end, start = min(matches)
        return end if self._include else start

    def _num_possible(self, text: str) -> int:
        """Return the length of the longest end of `text` that begins a stop string."""
        longest = max((len(stop) - 1 for stop in self._stops), default=0)
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stops):
                return length
        return 0
