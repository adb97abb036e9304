"""What an output with tool calls is made of."""

from dataclasses import dataclass
from typing import Protocol


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


class CallParser(Protocol):
    """Splits one output into text and calls, as it grows.

    Whatever the pieces, text and calls come out the same. What looks like a call and is none
    (broken JSON, a tool nobody offered) is text, and comes out as it was written.
    """

    num_calls: int
    """Calls begun so far."""

    def feed(self, text: str) -> list[Part]:
        """Return what has become certain once `text` has been appended."""

    def finish(self) -> list[Part]:
        """Return what is left when no more text comes: a call cut short is text, unless begun."""
