"""Reads one completion stream: when tokens came, how many, and whether it ended as it should.

A *token event* is an event with `choices` that has text, or has no finish reason: a server may
hold text back at a UTF-8 boundary, so an empty text can still be a token. A last event that only
brings the finish reason is not a token, unless nothing came before it; nor is a chat's first
event that only says who speaks. Thoughts and arguments of tool calls are text like any other.
"""

import json
from typing import Any

from pagelet_bench.core.result import Outcome
from pagelet_bench.core.sse import SseEvent

_DONE = b"[DONE]"


class CompletionStream:
    """The state of one answer with `stream: true` and one choice, of completions or chat.

    Attributes:
        token_times_s: When each token event arrived.
        prompt_tokens: From usage; None until the server says.
        output_tokens: From usage; None until the server says.
    """

    def __init__(self) -> None:
        self.token_times_s: list[float] = []
        self.prompt_tokens: int | None = None
        self.output_tokens: int | None = None
        self._pieces: list[str] = []
        self._is_done = False
        self._is_finished = False
        self._failure: tuple[Outcome, str] | None = None

    @property
    def text(self) -> str:
        """The answer so far, without thoughts and tool calls."""
        return "".join(self._pieces)

    @property
    def has_failed(self) -> bool:
        """Whether the stream has gone wrong for good; what follows cannot mend it."""
        return self._failure is not None

    def accept(self, event: SseEvent, now: float) -> None:
        """Take the next event, which arrived at `now`, seconds."""
        if self._is_done or self.has_failed:
            return
        if event.data == _DONE:
            self._is_done = True
            return
        try:
            body = json.loads(event.data)
        except ValueError:
            self._fail(Outcome.MALFORMED, f"an event is not JSON: {_excerpt(event.data)}")
            return
        if not isinstance(body, dict):
            self._fail(Outcome.MALFORMED, f"an event is not an object: {_excerpt(event.data)}")
        elif body.get("error") is not None:
            self._fail(Outcome.ERROR, error_message(body))
        else:
            self._accept_chunk(body, now)

    def verdict(self) -> tuple[Outcome, str]:
        """Judge the stream, once it has ended, with a sentence for what went wrong."""
        if self._failure is not None:
            return self._failure
        if not self._is_finished:
            return Outcome.CUT, "the stream ended without a finish reason."
        if not self._is_done:
            return Outcome.CUT, "the stream ended without [DONE]."
        return Outcome.OK, ""

    def _accept_chunk(self, body: dict[str, Any], now: float) -> None:
        choices = body.get("choices")
        if not isinstance(choices, list) or not all(isinstance(c, dict) for c in choices):
            self._fail(Outcome.MALFORMED, f"an event has no choices: {sorted(body)[:8]}")
            return
        usage = body.get("usage")
        if isinstance(usage, dict):
            self.prompt_tokens = _count(usage.get("prompt_tokens"), self.prompt_tokens)
            self.output_tokens = _count(usage.get("completion_tokens"), self.output_tokens)
        if not choices:
            return
        is_last = choices[0].get("finish_reason") is not None
        self._is_finished = self._is_finished or is_last
        text, has_more, is_opening = _content(choices[0])
        self._pieces.append(text)
        if text or has_more or not (is_last or is_opening) or (is_last and not self.token_times_s):
            self.token_times_s.append(now)

    def _fail(self, outcome: Outcome, detail: str) -> None:
        self._failure = outcome, detail


def error_message(body: object) -> str:
    """Find the sentence in an OpenAI error object, or show what is there instead."""
    error = body.get("error") if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else _excerpt(json.dumps(body).encode())


def _content(choice: dict[str, Any]) -> tuple[str, bool, bool]:
    """Return a choice's text, whether it has thoughts or tool calls, and if it only opens."""
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        text = choice.get("text")
        return text if isinstance(text, str) else "", False, False
    text = delta.get("content")
    has_more = any(delta.get(name) for name in ("reasoning_content", "reasoning", "tool_calls"))
    return text if isinstance(text, str) else "", has_more, "role" in delta


def _count(value: object, otherwise: int | None) -> int | None:
    return value if isinstance(value, int) and value >= 0 else otherwise


def _excerpt(data: bytes) -> str:
    return repr(data[:80].decode(errors="replace"))
