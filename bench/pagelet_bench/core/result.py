"""What became of one request. Failures and time-outs are results like any other."""

import itertools
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a request ended, as the client saw it."""

    OK = "ok"
    """All of it arrived: tokens, a finish reason, and the closing `[DONE]`."""

    REFUSED = "refused"
    """An HTTP status other than 200."""

    TIMED_OUT = "timed_out"
    """Not finished within the time-out, whether stalled or only slow."""

    UNREACHABLE = "unreachable"
    """The connection failed before the answer began."""

    CUT = "cut"
    """The stream ended or broke before its finish reason or before `[DONE]`."""

    ERROR = "error"
    """The stream carried an error object."""

    MALFORMED = "malformed"
    """The answer is not an OpenAI completion stream."""

    NOT_SENT = "not_sent"
    """A later turn of a conversation in which an earlier one failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestResult:
    """One finished request. Times are seconds on one monotonic clock.

    Attributes:
        detail: One sentence on what went wrong; empty when nothing did.
        late_s: How long after its due time it was sent. Latencies begin at the due time, so that
            a load generator that falls behind does not hide a wait from the figures.
        token_times_s: Arrival of each token event, ascending.
        prompt_tokens: By the server's usage if given, else as planned.
        output_tokens: By the server's usage if given, else the number of token events.
        requested_tokens: Output tokens asked for.
        turn: Of its conversation, from 0.
        text: The answer, which the next turn repeats.
    """

    index: int
    outcome: Outcome
    detail: str
    late_s: float
    started_s: float
    ended_s: float
    token_times_s: tuple[float, ...]
    prompt_tokens: int
    output_tokens: int
    requested_tokens: int
    turn: int = 0
    text: str = ""

    @property
    def due_s(self) -> float:
        """When it should have been sent, on the same clock."""
        return self.started_s - self.late_s

    @property
    def e2e_s(self) -> float:
        """Seconds from when it was due to the end of its answer."""
        return self.ended_s - self.due_s

    @property
    def ttft_s(self) -> float | None:
        """Seconds from when it was due to its first token event."""
        return self.token_times_s[0] - self.due_s if self.token_times_s else None

    @property
    def mean_itl_s(self) -> float | None:
        """Seconds per output token after the first; None with fewer than two tokens."""
        if self.output_tokens < 2 or not self.token_times_s:
            return None
        return (self.token_times_s[-1] - self.token_times_s[0]) / (self.output_tokens - 1)

    @property
    def gaps_s(self) -> list[float]:
        """Seconds between neighbouring token events."""
        times = self.token_times_s
        return [later - earlier for earlier, later in itertools.pairwise(times)]
