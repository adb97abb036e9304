"""Keeps what a model thinks apart from what it answers: `<think>` ... `</think>`, then the answer.

Some templates open the thought themselves, then the output begins inside it; some close it at once,
then there is none. Blank lines next to the tags are notation. Whatever the pieces, thought and
answer come out the same. Pure.

Source: the chat templates of Qwen3 and DeepSeek-R1.
"""

import enum

from pagelet_engine.text.detokenizer import StopStrings

OPEN, CLOSE = "<think>", "</think>"


class Thinking(enum.Enum):
    """Where an output begins."""

    FREE = "free"
    """The model may open a thought, or answer at once."""
    OPEN = "open"
    """In a thought."""
    CLOSED = "closed"
    """In the answer."""


def thinking_after(rendered: str, continued: str | None = None) -> Thinking:
    """Return where the output begins that follows a prompt.

    Args:
        rendered: The prompt's text; its end counts, not what users quote in it.
        continued: The assistant's message that the prompt leaves open, if it does.
    """
    if continued is not None and continued.strip():
        is_open = continued.rfind(OPEN) > continued.rfind(CLOSE)
        return Thinking.OPEN if is_open else Thinking.CLOSED
    end = rendered.rstrip()
    if end.endswith(OPEN):
        return Thinking.OPEN
    return Thinking.CLOSED if end.endswith(CLOSE) else Thinking.FREE


class ThoughtSplitter:
    """Splits one output into thought and answer, as it grows."""

    def __init__(self, start: Thinking) -> None:
        """Begin where `start` says."""
        self._state = start
        self._held = ""
        """What may turn out to be the opening tag, or blank lines at the thought's end."""
        self._closing = StopStrings([CLOSE])
        self._is_at_start = True
        """Whether nothing of the thought, or behind it of the answer, has been shown."""
        self.has_thought = start is Thinking.OPEN
        """Whether a thought has begun."""

    @property
    def is_answering(self) -> bool:
        """Whether all that comes is the answer."""
        return self._state is Thinking.CLOSED

    def feed(self, text: str) -> tuple[str, str]:
        """Return the thought and the answer that have become certain."""
        if self._state is Thinking.FREE:
            text = self._open(text)
        thought = ""
        if self._state is Thinking.OPEN and text:
            thought, text = self._think(text)
        return thought, self._answer(text) if self._state is Thinking.CLOSED else ""

    def finish(self) -> tuple[str, str]:
        """Return what is left when no more text comes."""
        held, self._held = self._held, ""
        if self._state is Thinking.OPEN:
            rest = self._closing.finish()
            return (held + rest if rest else "", "")
        return "", held

    def _open(self, text: str) -> str:
        """Decide whether a thought begins; return what is to be read on."""
        seen, self._held = self._held + text, ""
        begun = seen.lstrip()
        if begun.startswith(OPEN):
            self._state, self.has_thought = Thinking.OPEN, True
            return begun[len(OPEN) :]
        if OPEN.startswith(begun):
            self._held = seen
            return ""
        self._state, self._is_at_start = Thinking.CLOSED, False
        return seen

    def _think(self, text: str) -> tuple[str, str]:
        """Return the thought in `text`, and what comes after its end."""
        whole = self._closing.finish() + text
        self._closing = StopStrings([CLOSE])
        shown = self._closing.feed(whole)
        thought = self._without_blank_lines(shown)
        if not self._closing.found:
            return thought, ""
        self._state, self._held, self._is_at_start = Thinking.CLOSED, "", True
        return thought, whole[len(shown) + len(CLOSE) :]

    def _without_blank_lines(self, text: str) -> str:
        """Return `text` after what was held, without line breaks at the thought's ends."""
        text, self._held = self._held + text, ""
        if self._is_at_start:
            text = text.lstrip("\n")
        shown = text.rstrip("\n")
        self._held = text[len(shown) :]
        self._is_at_start = self._is_at_start and not shown
        return shown

    def _answer(self, text: str) -> str:
        if self.has_thought and self._is_at_start:
            text = text.lstrip("\n")
            self._is_at_start = not text
        return text
