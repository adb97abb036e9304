"""The rollout state machine: when does a new revision get traffic, and how much?

    Starting ─ready─► Gating ─passed─► Progressing ◄─approved─ AwaitingApproval
      ▲                 │                │  │  │ └─hold over, judged Pass─▲
      │ new revision    │                │  │  └──last step──► Promoting ─► Stable
      └─────────────────┼────────────────┘  │                      │
                        └─────► Failed ◄────┴──────────────────────┘
                                 failure, gate, deadline, verdicts in a row, abort

Pure and level-triggered: `step` returns the whole desired state, weights and all, so saying
it twice changes nothing. Without memory it goes by what the world says (`recollection`). A revision
that loses its traffic stays as `Retained` for a while: a replaced stable for `retain_stable_s`
(the way back loads nothing, and takes one look), a withdrawn canary until stable can carry its
share (`way_back`) and then for `DRAIN_S` (gateways see weight 0 before its replicas are told to
end). Only the clock, readiness and evidence move it forward; no evidence moves it nowhere, and
after the progress deadline asks for a person.
"""

from dataclasses import replace

from pagelet_operator.core.analysis import Verdict
from pagelet_operator.core.model import Fleet, Model, Role
from pagelet_operator.core.rollout.look import Look
from pagelet_operator.core.rollout.observations import UNSEEN, Observations
from pagelet_operator.core.rollout.orders import obey
from pagelet_operator.core.rollout.recollection import adopt, forget_lost, outlive
from pagelet_operator.core.rollout.shortage import lacks_room, obstacle
from pagelet_operator.core.rollout.state import (
    DRAIN_S,
    ON_TRIAL,
    Decision,
    Phase,
    Retained,
    RolloutState,
)
from pagelet_operator.core.rollout.trial import (
    Undecided,
    assess,
    begin,
    carry,
    drop_canary,
    enter,
    fail,
    hold_over,
    is_condemned,
    look_at,
    promote,
    relieve,
    undecided,
    wait_for,
)
from pagelet_operator.core.rollout.way_back import carrying_replicas, give_back, keeps

Advance = tuple[RolloutState, str]

_WAITING = frozenset({"Holding", "Paused", "Stable", "RolloutFailed", "AwaitingApproval"})
"""Reasons that say nothing was decided: a command of the same look says more."""


def step(
    state: RolloutState, model: Model, fleet: Fleet, now: float, seen: Observations = UNSEEN
) -> Decision:
    """Take one step of the rollout. Safe to call at any time, as often as one likes.

    Args:
        state: What the last step remembered.
        model: What the spec asks for.
        fleet: What the world shows.
        now: Unix seconds.
        seen: What else is known: figures, gates, a command, the demand.
    """
    look = Look(model, fleet, seen, now)
    if seen.gates_memory is not None:
        state = replace(state, gates=seen.gates_memory)
    state = forget_lost(state, model.revision, fleet, now)
    unknown = state.stable is None and state.canary is None
    if state.stable is None:
        state = outlive(adopt(state, look), seen.command)
    state, went_back = _follow_spec(state, look)
    state, commanded = obey(_with_weight(state, look), look)
    state = give_back(assess(look.find_room(state), look), look)
    state, reason = _advance(state, look)
    # Once more: a canary that gets traffic takes it from those before it.
    state = give_back(state, look)
    if state.phase is Phase.STABLE:
        state = replace(state, message=keeps(state, look))
    if commanded is not None and (reason in _WAITING or commanded == "Aborted"):
        reason = commanded
    if unknown and reason == "FirstRevisionReady":
        # It answered before anybody remembers having started it.
        reason = "AdoptedWithoutJudgement"
    return Decision(
        state=state,
        weights=_weights(state),
        roles=_roles(state),
        replicas=_replicas(state, look),
        reason="RolledBack" if went_back else reason,
        wake_at=_wake_at(state, look),
    )


def _follow_spec(state: RolloutState, look: Look) -> tuple[RolloutState, bool]:
    """Make the spec's revision the canary unless it serves, is on trial, has failed, or is the
    warm stable of before, which takes its place back at once. Returns whether it did.
    """
    target, now = look.model.revision, look.now
    if state.failed is not None and state.failed != target:
        state = replace(state, failed=None)
    if target == state.stable:
        return replace(drop_canary(state, look), phase=Phase.STABLE, message=""), False
    if target in (state.canary, state.failed):
        return state, False
    back = any(item.revision == target and item.proven for item in state.retained)
    state = drop_canary(state, look)
    if back and look.fleet.ready(target) >= look.replicas and state.stable is not None:
        # What is left was on its way to users before somebody took it back: no way to return to.
        until = now + max(look.policy.retain_stable_s, DRAIN_S)
        kept = tuple(item for item in state.retained if item.revision != target)
        kept = (*kept, Retained(state.stable, until))
        return replace(state, phase=Phase.STABLE, stable=target, retained=kept, message=""), True
    return begin(state, target, look), False


def _with_weight(state: RolloutState, look: Look) -> RolloutState:
    """Fill in what versions before this one did not remember: the canary had its step's weight."""
    if state.weight is None and state.phase in ON_TRIAL:
        return replace(state, weight=look.want(state))
    return state


def _advance(state: RolloutState, look: Look) -> Advance:
    if state.canary is None:
        return state, "RolloutFailed" if state.phase is Phase.FAILED else "Stable"
    found = look.canary(state)
    if found is not None and found.failure is not None:
        return fail(state, look, found.failure), "ReplicaFailed"
    if is_condemned(state, look):
        why = state.assessment.message if state.assessment else ""
        return fail(state, look, f"{state.canary} was withdrawn: {why}"), "AnalysisFailed"
    if look.waits_for_stable(state):
        message = f"{state.canary} waits: {keeps(state, look)}"
        return replace(state, phase=Phase.STARTING, unready_since=None, message=message), (
            "WaitingForStable"
        )
    if look.have(state) < look.need(state):
        return _wait(state, look)
    state = replace(state, unready_since=None)
    if state.stable is None:
        return promote(state, look), "FirstRevisionReady"
    if state.phase in ON_TRIAL:
        return _continue(carry(state, look), look)
    if state.paused is not None:
        return state, state.paused.reason
    return _pass_gates(state, look)


def _wait(state: RolloutState, look: Look) -> Advance:
    """Stand still while the canary lacks replicas; the deadline decides the rest.

    It keeps what its ready replicas can carry: a scale-up or the loss of one replica of many must
    not throw the traffic back and forth.
    """
    clock = look.clock(state)
    since = clock if state.unready_since is None else state.unready_since
    have, need, why = look.have(state), look.need(state), obstacle(state, look)
    limit_s = look.policy.progress_deadline_s
    if state.paused is None and look.now >= since + limit_s:
        text = f"{state.canary} had {have} of {need} replicas ready after {limit_s:g} s{why}"
        return fail(state, look, text), "ProgressDeadlineExceeded"
    message = f"{state.canary} has {have} of {need} replicas ready{why}"
    state = replace(state, unready_since=since, message=message)
    if state.phase in ON_TRIAL:
        state = relieve(carry(state, look), look)
        if have and state.weight:
            return state, "CanaryNotFullyReady"
    state = replace(state, phase=Phase.STARTING, weight=None, assessment=None, undecided_since=None)
    if lacks_room(state, look):
        return state, "WaitingForCapacity"
    return state, "FirstRevisionNotReady" if state.stable is None else "CanaryNotReady"


def _pass_gates(state: RolloutState, look: Look) -> Advance:
    """Let a ready canary to its first users, once its gates are passed."""
    if not look.policy.gated:
        return _continue(carry(enter(state, look, state.step), look), look, "CanaryReady")
    seen = look.seen
    verdict = seen.gates if seen.canary == state.canary else None
    waiting = replace(state, phase=Phase.GATING, message=seen.gates_message or "gates are run")
    match verdict:
        case Verdict.PASS:
            return _continue(carry(enter(state, look, state.step), look), look, "GatesPassed")
        case Verdict.FAIL:
            text = f"{state.canary} did not pass its gates: {seen.gates_message}"
            return fail(state, look, text), "GateFailed"
        case Verdict.INCONCLUSIVE:
            return replace(waiting, undecided_since=None), "Gating"
        case Verdict.ERROR | None:
            said = seen.gates_message if verdict else "no gate has said anything yet"
            return wait_for(waiting, look, Undecided.GATE_ERROR, said)


def _continue(state: RolloutState, look: Look, reason: str = "") -> Advance:
    """Let the canary keep its traffic, get the next step's, or all of it.

    Args:
        state: With a canary that has traffic.
        look: What it is decided on.
        reason: Why it just got its traffic, if it did.
    """
    if state.phase is Phase.PROMOTING:
        if state.weight == 100:
            return promote(state, look), "Promoted"
        return state, reason or "Promoting"
    if reason:
        return state, reason
    if state.paused is not None:
        return state, state.paused.reason
    # The sums here and in `_wake_at` are the same, so that no rounding lies between them.
    if look.now < hold_over(state, look.policy):
        return replace(state, phase=Phase.PROGRESSING), "Holding"
    why = undecided(state, look)
    if why is not None:
        return wait_for(replace(state, phase=Phase.PROGRESSING), look, *why)
    return _leave(replace(state, undecided_since=None), look)


def _leave(state: RolloutState, look: Look) -> Advance:
    """Leave a step that is over, unless a person has to agree."""
    current = look.step(state)
    if current.approval:
        message = f"{state.canary} waits at {state.weight} % for approval: promote gives it"
        return replace(state, phase=Phase.AWAITING_APPROVAL, message=message), "AwaitingApproval"
    state = carry(enter(state, look, state.step + 1), look)
    return _continue(state, look, "StepCompleted")


def _weights(state: RolloutState) -> dict[str, int]:
    if state.stable is None:
        return {}
    weight = (state.weight or 0) if state.phase in ON_TRIAL else 0
    kept = {item.revision: item.weight for item in state.carriers}
    weights = {state.stable: 100 - weight - sum(kept.values()), **kept}
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


def _replicas(state: RolloutState, look: Look) -> dict[str, int]:
    counts = carrying_replicas(state, look)
    room = look.room(state)
    if state.stable is not None:
        counts[state.stable] = look.model.replicas if state.canary is None else room.stable
    if state.canary is not None:
        counts[state.canary] = room.canary
    return counts


def _wake_at(state: RolloutState, look: Look) -> float | None:
    times = [item.until for item in state.retained]
    if look.seen.gates_wake_at is not None:
        times.append(look.seen.gates_wake_at)
    limit_s = look.policy.progress_deadline_s
    if state.paused is None and state.phase is not Phase.FAILED:
        since = (state.unready_since, state.undecided_since)
        times += [at + limit_s for at in since if at is not None]
    if state.paused is None and state.phase is Phase.PROGRESSING:
        times.append(hold_over(state, look.policy))
    due = look_at(state, look.policy)
    if due is not None and look.analysis is not None:
        # A look that is due and was not taken is due again soon, not at once.
        times.append(due if due > look.now else look.now + look.analysis.interval_s)
    # A time that has come has been acted on; what it waits for now is an event.
    return min((at for at in times if at > look.now), default=None)
