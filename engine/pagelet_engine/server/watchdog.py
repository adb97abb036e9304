"""Notices an engine process that lives but gets nothing done, and ends it.

    heard of ──silent for limit──► STUCK ──still silent after GRACE_S──► HOPELESS
                                     └──says something──► FINE

STUCK takes the server out of traffic; HOPELESS kills the engine process, so that requests in
flight hear of it and what happens next is decided where every death of the engine is. Heartbeats
come from the same loop that steps, so an endless step is silence too.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import StrEnum

import structlog

from pagelet_engine.engine_client import EngineClient

GRACE_S = 4.0
"""From STUCK to HOPELESS, seconds: a machine that swapped or was paused may come back."""

RESTARTS = 5
RESTART_WINDOW_S = 600.0

_log = structlog.get_logger(__name__)


class Verdict(StrEnum):
    """What silence means."""

    FINE = "fine"
    STUCK = "stuck"
    HOPELESS = "hopeless"


class ProgressWatch:
    """Judges silence; time is an argument."""

    def __init__(self, limit_s: float, now: float) -> None:
        """Start counting at `now`; silence of `limit_s` seconds is STUCK."""
        self.interval_s = min(0.5, limit_s / 4)
        """How often to look, seconds."""
        self._limit_s = limit_s
        self._since = now
        self._looked_at = now

    def look(self, now: float, last_event_s: float) -> Verdict:
        """Return what to think at `now` of an engine last heard of at `last_event_s`."""
        if now - self._looked_at > max(4 * self.interval_s, 1.0):
            # It was us who stood still: what the engine said meanwhile has yet to be read.
            self._since = now
        self._looked_at = now
        self._since = max(self._since, last_event_s)
        silence_s = now - self._since
        if silence_s < self._limit_s:
            return Verdict.FINE
        return Verdict.STUCK if silence_s < self._limit_s + GRACE_S else Verdict.HOPELESS


class RestartBudget:
    """How often an engine may be started again: a request that kills it must not do so for ever."""

    def __init__(self) -> None:
        self._spent: deque[float] = deque(maxlen=RESTARTS)

    def spend(self, now: float) -> bool:
        """Return whether one more restart at `now` is within the budget, and count it."""
        if len(self._spent) == RESTARTS and now - self._spent[0] < RESTART_WINDOW_S:
            return False
        self._spent.append(now)
        return True


async def watch(engine: EngineClient, limit_s: float, on_change: Callable[[bool], None]) -> None:
    """Look at `engine` until it is hopeless, then kill it; a slow start is no fault.

    Args:
        engine: Started.
        limit_s: Longest silence that is no fault, seconds.
        on_change: Called with whether the engine is stuck, each time that changes.
    """
    await engine.wait_ready()
    loop = asyncio.get_running_loop()
    progress = ProgressWatch(limit_s, loop.time())
    before = Verdict.FINE
    while before is not Verdict.HOPELESS:
        await asyncio.sleep(progress.interval_s)
        verdict = progress.look(loop.time(), loop.time() - engine.silence_s())
        if verdict is not before:
            _log.warning("engine_progress", verdict=verdict, silence_s=round(engine.silence_s(), 1))
            on_change(verdict is not Verdict.FINE)
        before = verdict
    engine.kill()
