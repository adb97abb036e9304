"""How many tokens an answer used, read on its way past.

A whole answer says so in its `usage`, near its end: the last bytes are kept, not the answer.
"""

import re
from dataclasses import dataclass

TAIL_BYTES = 4096
"""`usage` and what servers write after it fit well into this."""

_COUNTS = re.compile(rb'"(prompt_tokens|completion_tokens)"\s*:\s*(\d{1,12})\b')


@dataclass(frozen=True, slots=True)
class Usage:
    """As the engine counts."""

    prompt_tokens: int
    output_tokens: int

    @property
    def total(self) -> int:
        """All that a quota is charged with."""
        return self.prompt_tokens + self.output_tokens


class Tail:
    """Keeps the end of an answer that is passed on in parts."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, part: bytes) -> None:
        """Take the next part."""
        kept = part if len(part) >= TAIL_BYTES else self._kept + part
        self._kept = kept[-TAIL_BYTES:]

    def usage(self) -> Usage | None:
        """Return what the answer says it used; None if it does not."""
        return usage_in(self._kept)


def usage_in(text: bytes) -> Usage | None:
    """Read the last `usage` object in a piece of JSON.

    A quotation mark inside a JSON string is escaped, so what a model writes is never taken
    for the server's own count.
    """
    _, found, after = text.rpartition(b'"usage"')
    counts = {name: int(value) for name, value in _COUNTS.findall(after)} if found else {}
    if b"prompt_tokens" not in counts:
        return None
    return Usage(counts[b"prompt_tokens"], counts.get(b"completion_tokens", 0))
