"""Which gate is run when, and what its result means for the canary.

One gate at a time, in the order of `GateKind`. `advance` is level-triggered: it is told what is
remembered and what runs, and says what to start and what to stop. Results are remembered by
revision, gate and settings, so neither a restart nor another look runs a passed gate again, and
a change of the settings does.

What a try means is in `gate_tries`. What has erred never counts as passed, and while it errs the
rollout's deadline goes on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pagelet_operator.core import parity
from pagelet_operator.core.analysis import Verdict
from pagelet_operator.core.gate_tries import START_LIMIT_S, because, judged, retry_at, seen
from pagelet_operator.core.gates import (
    FINISHED,
    Gate,
    GateKey,
    GateKind,
    GateResult,
    GateRun,
    GateStatus,
    Memory,
)

KEPT_RESULTS = 12
"""Results of other revisions that are remembered: three gates of the last four."""

KEPT_OURS = 24
"""Results of the canary and the stable revision: settings may change a few times in a trial."""


@dataclass(frozen=True, slots=True)
class GateDecision:
    """What one look at the gates decided."""

    memory: Memory
    verdict: Verdict
    """Of all gates together, as `rollout.Observations.gates` wants it."""
    message: str
    start: GateRun | None = None
    """The try to start now; starting one that runs already must change nothing."""
    stop: tuple[GateRun, ...] = ()
    """What is wanted no more, or is over and remembered: stop it after `memory` is stored."""
    wake_at: float | None = None
    """When to look again, if nothing else happens."""


def advance(
    gates: Sequence[Gate],
    memory: Memory,
    canary: str,
    stable: str | None,
    running: Mapping[GateRun, GateResult],
    now: float,
) -> GateDecision:
    """Decide about the gates of a canary. Safe to call as often as one likes.

    Args:
        gates: The gates that are asked for, in any order.
        memory: What the last look remembered.
        canary: The revision on trial; its replicas are ready.
        stable: The revision that serves.
        running: What the world says of every run it knows, finished or not.
        now: Unix seconds.
    """
    keys = {gate.key(canary, stable): gate for gate in sorted(gates, key=_place)}
    known = {key: result for key, result in memory.items() if result.status in FINISHED}
    for key, gate in keys.items():
        before = memory.get(key) or _adopted(key, running)
        attempt = GateRun(key, before.errors if before else 0)
        said = judged(running.get(attempt), gate, _profile(memory, key, stable))
        found = seen(before, said, gate, now)
        if found is not None:
            known[key] = found
    decision = _decide(keys, known, now)
    alive = {
        GateRun(key, result.errors)
        for key, result in decision.memory.items()
        if key in keys and result.status not in FINISHED
    }
    stop = tuple(sorted(run for run in running if run not in alive))
    return replace(decision, memory=_bounded(decision.memory, canary, stable), stop=stop)


def applicable(
    gates: Sequence[Gate], canary: Mapping[str, Any], stable: Mapping[str, Any]
) -> tuple[Gate, ...]:
    """Return the gates that say something of this canary, given both templates."""
    differs = parity.changes_model(canary, stable)
    return tuple(gate for gate in gates if not (differs and gate.same_model_only))


def is_stored(run: GateRun, stored: Memory) -> bool:
    """Return whether a memory that was read back holds how a try ended, so that it may go."""
    found = stored.get(run.key)
    return found is not None and (found.status in FINISHED or found.errors > run.attempt)


def forgive(memory: Memory, revision: str) -> Memory:
    """Forget what a revision has not passed: a person wants it tried again."""
    return {
        key: result
        for key, result in memory.items()
        if key.revision != revision or result.status is GateStatus.PASSED
    }


def latest(memory: Memory, revision: str, kind: GateKind) -> GateResult | None:
    """Return the newest passed result of one gate for a revision, or None."""
    found = [
        result
        for key, result in memory.items()
        if (key.revision, key.kind) == (revision, kind) and result.status is GateStatus.PASSED
    ]
    return max(found, key=lambda result: result.finished_at or 0.0, default=None)


def _profile(memory: Memory, key: GateKey, stable: str | None) -> Mapping[str, float] | None:
    """Return the stable revision's figures under the same load, if it was tested so."""
    if stable is None:
        return None
    found = memory.get(replace(key, revision=stable))
    return found.figures if found is not None and found.figures else None


def _place(gate: Gate) -> int:
    return list(GateKind).index(gate.kind)


def _adopted(key: GateKey, running: Mapping[GateRun, GateResult]) -> GateResult | None:
    """Return what is to be remembered of a run that nobody remembers having started."""
    attempts = [run.attempt for run in running if run.key == key]
    if not attempts:
        return None
    return GateResult(status=GateStatus.PENDING, errors=max(attempts))


def _decide(keys: Mapping[GateKey, Gate], known: Memory, now: float) -> GateDecision:
    for number, (key, gate) in enumerate(keys.items(), start=1):
        result = known.get(key)
        place = f"gate {number} of {len(keys)}, {gate.kind}"
        if result is None:
            return _start(key, gate, known, GateResult(status=GateStatus.PENDING), place, now)
        match result.status:
            case GateStatus.PASSED:
                continue
            case GateStatus.FAILED:
                return GateDecision(known, Verdict.FAIL, f"{gate.kind}: {result.message}")
            case GateStatus.ERROR if now >= retry_at(result):
                return _start(key, gate, known, result, place, now)
            case GateStatus.ERROR:
                text = f"{place}: {result.message} (error {result.errors}; is tried again)"
                return GateDecision(known, Verdict.ERROR, text, wake_at=retry_at(result))
            case GateStatus.PENDING | GateStatus.RUNNING:
                limit_s = gate.limit_s if result.status is GateStatus.RUNNING else START_LIMIT_S
                return GateDecision(
                    known,
                    _meanwhile(result),
                    f"{place}: {result.status.lower()}{because(result.message)}",
                    wake_at=result.started_at + limit_s,
                )
    told = "; ".join(f"{key.kind}: {known[key].message}" for key in keys)
    return GateDecision(known, Verdict.PASS, told or "there are no gates")


def _start(
    key: GateKey, gate: Gate, known: Memory, before: GateResult, place: str, now: float
) -> GateDecision:  # fmt: skip
    begun = GateResult(status=GateStatus.PENDING, started_at=now, errors=before.errors)
    said = f"{place}: started{because(before.message)}"
    run = GateRun(key, begun.errors)
    memory = {**known, key: begun}
    return GateDecision(memory, _meanwhile(begun), said, start=run, wake_at=now + START_LIMIT_S)


def _meanwhile(result: GateResult) -> Verdict:
    """A try after an Error does not stop the rollout's deadline; the first one does."""
    return Verdict.ERROR if result.errors else Verdict.INCONCLUSIVE


def _bounded(memory: Memory, canary: str, stable: str | None) -> Memory:
    """Keep the newest of what concerns the two revisions, and the newest of all others."""
    ours = [item for item in memory.items() if item[0].revision in (canary, stable)]
    others = [item for item in memory.items() if item[0].revision not in (canary, stable)]
    return dict([*sorted(others, key=_age)[-KEPT_RESULTS:], *sorted(ours, key=_age)[-KEPT_OURS:]])


def _age(item: tuple[GateKey, GateResult]) -> tuple[float, GateKey]:
    """Order results by age; what is not finished is the newest."""
    key, result = item
    return (float("inf") if result.finished_at is None else result.finished_at), key
