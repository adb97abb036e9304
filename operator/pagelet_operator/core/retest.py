"""When is what serves load-tested again, and when is that test ended for users' sake? Pure.

A load test that no longer speaks for what serves is run again: outside of peaks
(`core.quiet_hours`), against one replica, and only while users can do without that one. A test
that runs when users come back is ended at once and tried later. It is written down before it is
started, so whoever dies in between finds what was meant and starts nothing twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pagelet_operator.core.demand import needed_replicas
from pagelet_operator.core.gates import Gate, GateKind, GateResult, GateRun, GateStatus, Memory
from pagelet_operator.core.lengths import NO_LENGTHS, Lengths
from pagelet_operator.core.performance import Performance
from pagelet_operator.core.quiet_hours import HOUR_S, Day, due_at
from pagelet_operator.core.revalidation import Reason, Validation
from pagelet_operator.core.window import Window

IDLE_S = 300.0
"""How far back demand is looked at, seconds; a lone replica must have been idle for as long."""

PAUSE_S = 1800.0
"""After a test that was ended for users' sake, seconds."""

MAX_HOURS = 23
"""Whole hours that are remembered; with the current one they are a day."""

RETESTED = frozenset({Reason.MODEL, Reason.TOKENIZER, Reason.CONTEXT, Reason.TRAFFIC})
"""What a load test mends. A first revision that was never tested is not: nobody asked for it."""

_RUNS = "the load test runs against one replica"
_ENDED = "the load test was ended, users need every replica; it is tried again later"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What is seen of a model and its load tests at one look."""

    stable: str
    validation: Validation
    is_settled: bool
    """Whether stable serves and no other revision is on its way."""
    gate: Gate | None
    """The load test that the spec asks for."""
    room: bool | None
    """Whether users can do without one replica; None where nobody can say."""
    last_hour: int | None
    """Requests of the last hour; None where nobody counts."""
    live: Lengths = NO_LENGTHS
    """Lengths of users' requests."""
    last_test_at: float | None = None
    """When the last load test of stable ended, however it did."""


def plan(before: Performance, seen: Sight, now: float) -> Performance:
    """Return what is to be remembered, and whether the load test is to run now.

    Safe to repeat: the same sight at the same moment gives the same plan.

    Args:
        before: What the last look remembered.
        seen: What there is to know.
        now: Unix seconds.
    """
    if before.revision != seen.stable:
        before = _of_another(before)
    kept = _with_hour(before, seen.last_hour, now)
    kept = replace(kept, revision=seen.stable, reason=seen.validation.reason)
    if before.reason is not seen.validation.reason:
        kept = replace(kept, message=seen.validation.message)
    if seen.validation.reason not in RETESTED:
        return _quiet(replace(kept, since=0.0, not_before=0.0))
    kept = replace(kept, since=kept.since or now)
    if seen.gate is None:
        return replace(_quiet(kept), note="name rollout.gates.loadTest to have it run again")
    if not seen.is_settled:
        return replace(_quiet(kept), note="the load test waits for the rollout to end")
    return _running(kept, seen, now) if before.testing else _waiting(kept, seen, now)


def after(performance: Performance, result: GateResult | None) -> Performance:
    """Return what is to be remembered when a try stands like this."""
    if result is None or result.status not in (GateStatus.PASSED, GateStatus.FAILED):
        return performance
    return replace(_quiet(performance), note=f"load test {result.status.lower()}: {result.message}")


def is_wanted(run: GateRun, stable: str | None, performance: Performance) -> bool:
    """Return whether a try is the load test of what serves, not one of a canary's gates."""
    return (
        performance.testing
        and run.key.kind is GateKind.LOAD_TEST
        and run.key.revision == stable == performance.revision
    )


def gate_of(gate: Gate, performance: Performance) -> Gate:
    """Return the load test to run: the spec's, with users' lengths where those have shifted."""
    if performance.lengths == NO_LENGTHS:
        return gate
    told = {
        "prompt": list(performance.lengths.prompt),
        "output": list(performance.lengths.output),
    }
    return replace(gate, settings={**gate.settings, "lengths": told})


def has_room(windows: Mapping[str, Window], ready: int, places: int) -> bool | None:
    """Return whether users can do without one of the ready replicas; None if it cannot be said.

    A lone replica is spared only if nobody asked for anything, nor waits for an answer.

    Args:
        windows: What was measured by revision over about `IDLE_S`.
        ready: Replicas that are ready.
        places: Sequences that a replica computes at once.
    """
    found = list(windows.values())
    if max((window.span_s for window in found), default=0.0) < IDLE_S / 2:
        return None
    if ready > 1:
        needed = needed_replicas(found, places, ready)
        return None if needed is None else needed < ready
    asked = sum(w.requests + w.fallbacks for w in found)
    return ready == 1 and not asked and not any(w.in_flight_sum for w in found)


def requests_per_hour(windows: Mapping[str, Window]) -> int | None:
    """Return the requests of the last hour, or what they would be at the rate so far.

    Args:
        windows: What was measured by revision over an hour, or since the operator began.
    """
    span_s = max((window.span_s for window in windows.values()), default=0.0)
    if span_s < IDLE_S / 2:
        return None
    asked = sum(window.requests + window.fallbacks for window in windows.values())
    return round(asked * HOUR_S / span_s)


def last_test_at(memory: Memory, revision: str) -> float | None:
    """Return when a revision's last load test ended, passed or not; None without one."""
    ended = [
        result.finished_at
        for key, result in memory.items()
        if (key.revision, key.kind) == (revision, GateKind.LOAD_TEST)
        and result.status in (GateStatus.PASSED, GateStatus.FAILED)
        and result.finished_at is not None
    ]
    return max(ended, default=None)


def _running(kept: Performance, seen: Sight, now: float) -> Performance:
    if seen.room is False:
        return _waiting(replace(kept, not_before=now + PAUSE_S), seen, now)
    return replace(kept, note=_RUNS)


def _waiting(kept: Performance, seen: Sight, now: float) -> Performance:
    if now < kept.not_before:
        return replace(_quiet(kept), due_at=kept.not_before, note=_ENDED)
    current: Sequence[int] = () if seen.last_hour is None else (seen.last_hour,)
    day = Day(tuple(map(float, (*kept.hours, *current))))
    at = due_at(day, kept.since, seen.last_test_at, now)
    if at > now:
        # A plan moves with every request; what was told is kept while it is nearly as good.
        told = kept.due_at
        keeps = told is not None and told > now and abs(told - at) < HOUR_S
        return replace(_quiet(kept), due_at=told if keeps else at, note="the load test is due")
    reached = kept.due_at if kept.due_at is not None and kept.due_at <= now else now
    if seen.room is None:
        note = "the load test is due; the demand is not known yet"
        return replace(_quiet(kept), due_at=reached, note=note)
    if not seen.room:
        note = "the load test is due; it waits until users can do without one replica"
        return replace(_quiet(kept), due_at=reached, note=note)
    shifted = seen.validation.reason is Reason.TRAFFIC
    return replace(
        kept,
        testing=True,
        due_at=reached,
        lengths=seen.live if shifted else NO_LENGTHS,
        note=_RUNS,
    )


def _quiet(kept: Performance) -> Performance:
    return replace(kept, testing=False, lengths=NO_LENGTHS, due_at=None, note="")


def _of_another(before: Performance) -> Performance:
    """Forget what was said of another revision; the day's traffic is the model's."""
    return Performance(hours=before.hours, hour_ends_at=before.hour_ends_at)


def _with_hour(before: Performance, last_hour: int | None, now: float) -> Performance:
    """Add an hour's requests when it is over; a day with a gap is no day."""
    if last_hour is None:
        return before
    ends_at = before.hour_ends_at
    if ends_at is None or now >= ends_at + HOUR_S:
        return replace(before, hours=(), hour_ends_at=now + HOUR_S)
    if now < ends_at:
        return before
    hours = (*before.hours, last_hour)[-MAX_HOURS:]
    return replace(before, hours=hours, hour_ends_at=ends_at + HOUR_S)
