"""Measures how long one attempt waits for what its client waits for, and tells the router once."""

import time

from pagelet_gateway.core.pressure import Sample, kind_of
from pagelet_gateway.core.router import Router, Target
from pagelet_gateway.server.call import Call
from pagelet_gateway.server.upstream import Answer


class Stopwatch:
    """Of one attempt, from its sending to the first token of a stream or the first byte else.

    Errors say nothing about how busy an engine is: they are quick at any time.
    """

    __slots__ = ("_among", "_asked_at", "_call", "_router", "_target")

    def __init__(self, call: Call, target: Target, router: Router) -> None:
        """Start it; the attempt is in flight already."""
        self._call = call
        self._target = target
        self._router: Router | None = router
        self._asked_at = call.asked_at
        self._among = router.in_flight(target.url)

    def answered(self, answer: Answer, now: float) -> None:
        """The first byte is here, of a stream perhaps without a token."""
        if answer.response.status != 200:
            self._router = None
        elif not answer.is_event_stream:
            self._stop(now - self._asked_at)

    def heard(self) -> None:
        """More of the answer is here."""
        if self._router is not None and self._call.ttft_s is not None:
            self._stop(self._call.started_at + self._call.ttft_s - self._asked_at)

    def end(self, *, was_too_slow: bool = False) -> None:
        """The attempt is over; without a first token that counts if it waited in vain.

        Args:
            was_too_slow: Whether it was given up for that.
        """
        self.heard()
        if was_too_slow or self._call.remaining_s() <= 0:
            self._stop(time.monotonic() - self._asked_at)

    def _stop(self, took_s: float) -> None:
        router, self._router = self._router, None
        if router is None:
            return
        call, seen = self._call, self._call.seen
        kind = kind_of(
            is_stream=seen.is_stream,
            num_prompt_bytes=seen.num_prompt_bytes,
            max_tokens=seen.max_tokens,
        )
        sample = Sample(
            kind=kind,
            asked_at=self._asked_at,
            took_s=max(0.0, took_s),
            of_s=call.deadline - call.started_at,
            among=self._among,
        )
        router.saw(self._target, sample, time.monotonic())
