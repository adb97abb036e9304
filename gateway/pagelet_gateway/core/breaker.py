"""A circuit breaker: after enough failures nothing is sent for a while, then one probe decides.

    closed ──too many failures──► open ──time is up──► half-open ──probe answered──► closed
                                   ▲                       │
                                   └──────probe failed─────┘   twice as long as before

Whoever sends a request enters and gets a ticket; how it went comes back with the ticket. A
ticket from before the last opening says nothing about now and is ignored.
"""

import hashlib
import math
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from pagelet_gateway.core.route_table import BreakerPolicy

MAX_OPEN_S = 300.0
"""Longest time without a probe, unless the policy asks for more at once."""
JITTER = 0.2
"""An open time is longer by up to this share, so that gateways do not probe in step."""
WINDOW_S = 10
"""What an error rate is measured over."""
MIN_VOLUME = 10
"""Fewest requests in the window that make a rate."""


class State(StrEnum):
    """What a breaker does with the next request."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Ticket:
    """One request that entered."""

    number: int
    era: int
    """How often the breaker had opened by then."""
    is_probe: bool
    entered_at: float


@dataclass(slots=True)
class Window:
    """Successes and failures of the last `WINDOW_S` seconds, by the second."""

    _seconds: deque[tuple[float, list[int]]] = field(default_factory=deque)

    def add(self, now: float, *, failed: bool) -> None:
        """Count one request."""
        second = math.floor(now)
        if not self._seconds or self._seconds[-1][0] < second:
            self._seconds.append((second, [0, 0]))
        self._seconds[-1][1][failed] += 1
        self._drop(now)

    def failed_percent(self, now: float) -> float | None:
        """Share of failed requests; None when they are too few to tell."""
        self._drop(now)
        good = sum(counts[0] for _, counts in self._seconds)
        bad = sum(counts[1] for _, counts in self._seconds)
        return 100.0 * bad / (good + bad) if good + bad >= MIN_VOLUME else None

    def clear(self) -> None:
        """Forget everything."""
        self._seconds.clear()

    def _drop(self, now: float) -> None:
        while self._seconds and self._seconds[0][0] <= now - WINDOW_S - 1:
            self._seconds.popleft()


@dataclass(slots=True)
class Breaker:
    """One circuit. Times are monotonic seconds.

    A clock that steps back keeps a circuit open for longer, never for less.
    """

    policy: BreakerPolicy
    seed: str
    """What the jitter of the open times is drawn from."""

    _era: int = 0
    _entered: int = 0
    _in_a_row: int = 0
    _streak: int = 0
    """Openings in a row: without a time between that was as long as the last opening."""
    _open_for_s: float = 0.0
    _open_until: float | None = None
    _closed_at: float = -math.inf
    _counted_at: dict[str, float] = field(default_factory=dict)
    """When a failure of each cause that requests have in common last counted."""
    _probe: tuple[int, float] | None = None
    """Number and deadline of the request that probes."""
    _window: Window = field(default_factory=Window)

    def state(self, now: float) -> State:
        """What the circuit is at `now`."""
        if self._open_until is None:
            return State.CLOSED
        return State.OPEN if now < self._open_until else State.HALF_OPEN

    def admits(self, now: float) -> bool:
        """Whether the next request may enter: always, never, or as the one probe."""
        state = self.state(now)
        return state is State.CLOSED or (state is State.HALF_OPEN and not self._is_probed(now))

    def is_probe_due(self, now: float) -> bool:
        """Whether the next request would be the probe."""
        return self._open_until is not None and self.admits(now)

    def opens_in_s(self, now: float) -> float:
        """Seconds until a request may enter; 0 when one may."""
        if self.admits(now):
            return 0.0
        assert self._open_until is not None
        return max(self._open_until, self._probe[1] if self._probe else -math.inf) - now

    def enter(self, now: float, deadline: float) -> Ticket:
        """Count a request in; exactly one of `succeed`, `fail` and `release` must follow.

        One that is not admitted may enter all the same when there is no other way: it is no
        probe, but an answer to it closes the circuit.

        Args:
            now: When it is sent.
            deadline: When it will have ended; a probe that has not made room by then has.
        """
        is_probe = self.is_probe_due(now)
        self._entered += 1
        if is_probe:
            self._probe = (self._entered, deadline)
        return Ticket(self._entered, self._era, is_probe, now)

    def answered(self, ticket: Ticket, now: float) -> None:
        """The first byte is here: enough to close the circuit, not yet a success.

        An engine may begin every answer and end none, so only a whole answer ends a row of
        failures.
        """
        if ticket.era == self._era and self._open_until is not None:
            self._open_until, self._probe = None, None
            self._closed_at = now

    def succeed(self, ticket: Ticket, now: float) -> None:
        """The request was answered to its end."""
        self.answered(ticket, now)
        if ticket.era == self._era:
            self._in_a_row = 0
            self._window.add(now, failed=False)

    def fail(self, ticket: Ticket, now: float, *, cause: str | None = None) -> None:
        """The request failed, and not by the client's fault.

        Args:
            ticket: What `enter` returned.
            now: When.
            cause: What may fail all at once that run at the same time, such as the crash of
                one endpoint. Of those under way when one failure counts, no other of the
                same cause does.
        """
        if ticket.era != self._era:
            return
        if cause is not None and not ticket.is_probe:
            if ticket.entered_at <= self._counted_at.get(cause, -math.inf):
                return
            self._counted_at[cause] = now
        if self._open_until is not None:
            if ticket.is_probe:
                self.trip(now)
            return
        self._in_a_row += 1
        self._window.add(now, failed=True)
        share = self._window.failed_percent(now)
        too_often = share is not None and share >= self.policy.error_rate
        if too_often or self._in_a_row >= self.policy.consecutive_errors:
            self.trip(now)

    def release(self, ticket: Ticket) -> None:
        """The request ended without a verdict: a probe's place is free again."""
        if self._probe is not None and self._probe[0] == ticket.number:
            self._probe = None

    def trip(self, now: float) -> None:
        """Open the circuit: twice as long as the last time if that was just now."""
        in_a_row = self._open_until is not None or now - self._closed_at < self._open_for_s
        self._streak = self._streak + 1 if in_a_row else 1
        self._era += 1
        longest = max(MAX_OPEN_S, self.policy.open_for_s)
        span_s = self.policy.open_for_s * 2.0 ** min(self._streak - 1, 30)
        self._open_for_s = min(longest, span_s * (1.0 + JITTER * _uniform(self.seed, self._era)))
        self._open_until, self._probe = now + self._open_for_s, None
        self._in_a_row = 0
        self._window.clear()
        self._counted_at.clear()  # tickets of the last era do not count anyway

    def _is_probed(self, now: float) -> bool:
        return self._probe is not None and now < self._probe[1]


def _uniform(seed: str, number: int) -> float:
    """A number in [0, 1) that is the same for the same seed and number."""
    digest = hashlib.sha256(f"{seed}\0{number}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2.0**48
