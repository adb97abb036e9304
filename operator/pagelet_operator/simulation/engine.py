"""An engine as its step times: how fast a batch decodes, how long prompts keep others waiting.

A request's tokens are counted on its replica's own clock, which ticks once per decoding step: all
sequences of a batch advance together, so a request ends a fixed number of ticks after its first
token, however the batch grows or shrinks meanwhile. Prompts are computed one after the other.
"""

import heapq
import math
from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a trace."""

    at: float
    """Arrival, seconds since the trace began."""
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Step times of one replica. The defaults are a small model on a small GPU."""

    places: int = 16
    """Sequences computed at once."""
    step_s: float = 0.020
    """Of a decoding step, before any sequence."""
    step_per_sequence_s: float = 0.001
    prefill_tokens_per_s: float = 8000.0
    cold_start_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Done:
    """How one request fared."""

    request: Request
    ended_at: float
    ttft_s: float
    itl_s: float
    """Mean."""


@dataclass(slots=True)
class Replica:
    """One engine. Times are seconds and must not fall."""

    hardware: Hardware
    ready_at: float
    started_at: float
    draining: bool = False
    ended_at: float | None = None
    waiting: deque[Request] = field(default_factory=deque)
    _running: list[tuple[float, int, Request, float]] = field(default_factory=list)
    """(Tick at which it ends, number, request, time of its first token)."""
    _prompts: deque[tuple[float, Request]] = field(default_factory=deque)
    """(Time of its first token, request): prompts being computed, in turn."""
    _tick: float = 0.0
    _now: float = 0.0
    _count: int = 0

    @property
    def running(self) -> int:
        """Sequences being computed."""
        return len(self._running) + len(self._prompts)

    @property
    def load(self) -> int:
        """Requests here."""
        return self.running + len(self.waiting)

    def take(self, request: Request) -> None:
        """Queue a request that arrives now."""
        self.waiting.append(request)

    def advance(self, now: float) -> list[Done]:
        """Compute until `now`; return what ended, in order."""
        done: list[Done] = []
        self._admit()
        while True:
            joins_at = self._prompts[0][0] if self._prompts else math.inf
            ends_at = self._ends_at()
            if min(joins_at, ends_at) > now:
                break
            if joins_at <= ends_at:
                self._pass(joins_at)
                self._join()
            else:
                self._tick, self._now = self._running[0][0], ends_at
                done.append(self._end())
                self._admit()
        self._pass(now)
        return done

    def _ends_at(self) -> float:
        if not self._running:
            return math.inf
        return self._now + max(0.0, self._running[0][0] - self._tick) * self._step_s()

    def _pass(self, now: float) -> None:
        self._tick += max(0.0, now - self._now) / self._step_s()
        self._now = max(self._now, now)

    def _step_s(self) -> float:
        return self.hardware.step_s + self.hardware.step_per_sequence_s * len(self._running)

    def _admit(self) -> None:
        """Give places to those that wait; their prompts are computed in turn."""
        while self.waiting and self.running < self.hardware.places:
            request = self.waiting.popleft()
            took_s = request.prompt_tokens / self.hardware.prefill_tokens_per_s
            last_at = self._prompts[-1][0] if self._prompts else self._now
            self._prompts.append((max(self._now, last_at, request.at) + took_s, request))

    def _join(self) -> None:
        first_at, request = self._prompts.popleft()
        self._count += 1
        ends = self._tick + request.output_tokens
        heapq.heappush(self._running, (ends, self._count, request, first_at))

    def _end(self) -> Done:
        _, _, request, first_at = heapq.heappop(self._running)
        itl_s = (self._now - first_at) / max(1, request.output_tokens)
        return Done(request, self._now, first_at - request.at, itl_s)
