"""The rollout state machine: when does a new revision get traffic, and how much?

    Starting ──ready──► Stable ──new revision──► Starting ──ready──► Progressing ─┐
        ▲  │              ▲                         │                    │        │
        │  └─────────────►│◄──── last hold over ────┼────────────────────┘        │
        │   deadline, or  │                         ▼                             │
        └── new revision ─┴───────────────────── Failed ◄── failure or deadline ──┘

Pure and level-triggered: `step` returns the whole desired state, weights and all, so saying
it twice changes nothing. Without memory it adopts what the world shows as stable. A revision
that loses its traffic stays as `Retained` for a while: a replaced stable for `retain_stable_s`
(the way back loads nothing), a withdrawn canary for `DRAIN_S` (gateways see weight 0 before its
replicas are told to end).
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from pagelet_operator.core.model import Fleet, Model, Role, Step

DRAIN_S = 5.0
"""Between weight 0 and the end of a withdrawn canary's replicas, seconds. Longer than any
gateway needs to see a new table (< 1 s), so no request is sent to a replica that is ending."""


class Phase(StrEnum):
    """Where a rollout stands."""

    STARTING = "Starting"
    """A revision waits for its replicas to become ready; it has no traffic."""

    PROGRESSING = "Progressing"
    """The canary has the weight of the current step."""

    STABLE = "Stable"
    """What the spec asks for serves all traffic."""

    FAILED = "Failed"
    """The spec's revision was withdrawn; it is not tried again until the spec changes."""


@dataclass(frozen=True, slots=True)
class Retained:
    """A revision without traffic that still has replicas, until a Unix time."""

    revision: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutState:
    """All that a rollout remembers; persisted between reconciles (status, or memory)."""

    phase: Phase = Phase.STARTING
    stable: str | None = None
    canary: str | None = None
    """The revision on trial; while `stable` is None, the first one, waiting to serve."""
    failed: str | None = None
    """The revision that was withdrawn, so that it is not tried again."""
    step: int = 0
    """Index into the policy's steps; meaningful while Progressing."""
    step_started_at: float = 0.0
    unready_since: float | None = None
    """Since when the canary has lacked ready replicas; None while it has them."""
    retained: tuple[Retained, ...] = ()
    message: str = ""
    """Why the phase is what it is, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What `step` wants the world to be."""

    state: RolloutState
    weights: dict[str, int]
    """Percent by revision; sums to 100 once something is stable, else empty."""
    roles: dict[str, Role]
    """Every revision that should have replicas, stable first."""
    reason: str
    """One CamelCase word; the same in log, event and condition."""
    wake_at: float | None
    """When time alone changes the decision next (Unix seconds), or None."""


def step(state: RolloutState, model: Model, fleet: Fleet, now: float) -> Decision:
    """Take one step of the rollout. Safe to call at any time, as often as one likes."""
    state = _forget_lost(state, model.revision, fleet, now)
    if state.stable is None:
        state = _adopt(state, model.revision, fleet)
    state, reason = _advance(_follow_spec(state, model.revision, now), model, fleet, now)
    return Decision(
        state=state,
        weights=_weights(state, model),
        roles=_roles(state),
        reason=reason,
        wake_at=_wake_at(state, model, now),
    )


def _forget_lost(state: RolloutState, target: str, fleet: Fleet, now: float) -> RolloutState:
    """Drop what is over, and what nobody can bring back because its template is gone."""
    known = {*fleet.revisions, target}
    kept = tuple(r for r in state.retained if r.until > now and r.revision in known)
    stable = state.stable if state.stable in known else None
    return replace(state, retained=kept, stable=stable)


def _adopt(state: RolloutState, target: str, fleet: Fleet) -> RolloutState:
    """Make stable what the world shows as stable, since memory can be lost and users cannot.

    Where nothing is marked as stable, the readiest other revision is, unless the target answers
    itself: what alone answers is never removed.
    """
    marked = [item for item in fleet.revisions.values() if item.role is Role.STABLE]
    if not marked and fleet.ready(target) == 0:
        marked = [item for item in fleet.revisions.values() if item.ready and not item.failure]
    if not marked:
        return state
    found = max(marked, key=lambda item: (item.ready, item.revision)).revision
    kept = tuple(item for item in state.retained if item.revision != found)
    state = replace(state, stable=found, retained=kept)
    return replace(state, canary=None, unready_since=None) if state.canary == found else state


def _follow_spec(state: RolloutState, target: str, now: float) -> RolloutState:
    """Make `target` the canary unless it is what serves, is on trial, or has failed."""
    if state.failed is not None and state.failed != target:
        state = replace(state, failed=None)
    if target == state.stable:
        state = _drop_canary(state, now)
        return replace(state, phase=Phase.STABLE, message="")
    if target in (state.canary, state.failed):
        return state
    state = _drop_canary(state, now)
    kept = tuple(item for item in state.retained if item.revision != target)
    return replace(
        state,
        phase=Phase.STARTING,
        canary=target,
        step=0,
        unready_since=now,
        retained=kept,
        message=f"waiting for {target} to become ready",
    )


def _drop_canary(state: RolloutState, now: float) -> RolloutState:
    if state.canary is None:
        return state
    gone = Retained(state.canary, now + DRAIN_S)
    return replace(state, canary=None, unready_since=None, retained=(*state.retained, gone))


def _advance(
    state: RolloutState, model: Model, fleet: Fleet, now: float
) -> tuple[RolloutState, str]:
    if state.canary is None:
        return state, "RolloutFailed" if state.phase is Phase.FAILED else "Stable"
    seen = fleet.revisions.get(state.canary)
    if seen is not None and seen.failure is not None:
        return _fail(state, now, seen.failure), "ReplicaFailed"
    if fleet.ready(state.canary) < max(1, model.replicas):
        return _wait(state, model, fleet, now)
    state = replace(state, unready_since=None)
    if state.stable is None:
        return _promote(state, model, now), "FirstRevisionReady"
    if state.phase is not Phase.PROGRESSING:
        return _enter(state, model, state.step, now), "CanaryReady"
    # The sums here and in `_wake_at` are the same, so that no rounding lies between them.
    if now < state.step_started_at + _current_step(state, model).hold_s:
        return state, "Holding"
    if state.step + 1 < len(model.rollout.steps):
        return _enter(state, model, state.step + 1, now), "StepCompleted"
    return _promote(state, model, now), "Promoted"


def _current_step(state: RolloutState, model: Model) -> Step:
    # The policy may have fewer steps now than when this one began.
    return model.rollout.steps[min(state.step, len(model.rollout.steps) - 1)]


def _wait(state: RolloutState, model: Model, fleet: Fleet, now: float) -> tuple[RolloutState, str]:
    """Stand still while the canary lacks replicas; the deadline decides the rest.

    It keeps its weight as long as its ready replicas can carry it: a scale-up or the loss of
    one replica of many must not throw the traffic back and forth.
    """
    since = now if state.unready_since is None else state.unready_since
    have, need = fleet.ready(state.canary), max(1, model.replicas)
    seen = fleet.revisions.get(state.canary or "")
    why = f": {seen.blocked}" if seen is not None and seen.blocked else ""
    if now >= since + model.rollout.progress_deadline_s:
        limit = model.rollout.progress_deadline_s
        text = f"{state.canary} had {have} of {need} replicas ready after {limit:g} s{why}"
        return _fail(state, now, text), "ProgressDeadlineExceeded"
    message = f"{state.canary} has {have} of {need} replicas ready{why}"
    waiting = replace(state, unready_since=since, message=message)
    enough = max(1, math.ceil(need * _current_step(state, model).weight / 100))
    if state.phase is Phase.PROGRESSING and have >= enough:
        return waiting, "CanaryNotFullyReady"
    reason = "FirstRevisionNotReady" if state.stable is None else "CanaryNotReady"
    return replace(waiting, phase=Phase.STARTING), reason


def _enter(state: RolloutState, model: Model, index: int, now: float) -> RolloutState:
    index = min(index, len(model.rollout.steps) - 1)
    weight = model.rollout.steps[index].weight
    message = f"step {index + 1} of {len(model.rollout.steps)}: {state.canary} has {weight} %"
    return replace(state, phase=Phase.PROGRESSING, step=index, step_started_at=now, message=message)


def _promote(state: RolloutState, model: Model, now: float) -> RolloutState:
    """Retarget the roles: no replica starts or ends here."""
    retained = state.retained
    if state.stable is not None:
        until = now + max(model.rollout.retain_stable_s, DRAIN_S)
        retained = (*retained, Retained(state.stable, until))
    return replace(
        state, phase=Phase.STABLE, stable=state.canary, canary=None, step=0, retained=retained,
        message="",
    )  # fmt: skip


def _fail(state: RolloutState, now: float, why: str) -> RolloutState:
    failed = state.canary
    if state.stable is None:
        # Nothing serves, so nothing is taken away: it stays, and may yet become ready.
        return replace(state, phase=Phase.FAILED, message=why)
    return replace(_drop_canary(state, now), phase=Phase.FAILED, failed=failed, step=0, message=why)


def _weights(state: RolloutState, model: Model) -> dict[str, int]:
    if state.stable is None:
        return {}
    on_trial = state.canary is not None and state.phase is Phase.PROGRESSING
    weight = _current_step(state, model).weight if on_trial else 0
    weights = {state.stable: 100 - weight}
    if state.canary is not None:
        weights[state.canary] = weight
    return weights


def _roles(state: RolloutState) -> dict[str, Role]:
    roles = {state.stable: Role.STABLE} if state.stable else {}
    if state.canary:
        roles[state.canary] = Role.CANARY
    for item in state.retained:
        roles.setdefault(item.revision, Role.RETIRED)
    return roles


def _wake_at(state: RolloutState, model: Model, now: float) -> float | None:
    times = [item.until for item in state.retained]
    if state.unready_since is not None and state.phase is not Phase.FAILED:
        times.append(state.unready_since + model.rollout.progress_deadline_s)
    if state.phase is Phase.PROGRESSING:
        times.append(state.step_started_at + _current_step(state, model).hold_s)
    # A time that has come has been acted on; what it waits for now is an event.
    return min((at for at in times if at > now), default=None)
