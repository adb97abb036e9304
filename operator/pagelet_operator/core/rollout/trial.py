"""A canary's trial: what gates and figures say, when a step is over, and how a trial ends."""

from dataclasses import replace
from enum import StrEnum

from pagelet_operator.core.analysis import Verdict
from pagelet_operator.core.model import RolloutPolicy, Strategy
from pagelet_operator.core.rollout.look import Look, analysis_of
from pagelet_operator.core.rollout.state import (
    DRAIN_S,
    ON_TRIAL,
    Assessment,
    Pause,
    Phase,
    Retained,
    RolloutState,
)
from pagelet_operator.core.rollout.way_back import give_back


class Undecided(StrEnum):
    """Why a trial neither goes on nor ends; after the progress deadline it is paused for it."""

    INCONCLUSIVE = "Inconclusive"
    FAILING = "AnalysisFailing"
    ANALYSIS_ERROR = "AnalysisError"
    GATE_ERROR = "GateError"


def look_at(state: RolloutState, policy: RolloutPolicy) -> float | None:
    """Return when the canary's figures are to be looked at next (Unix seconds), or None.

    Every interval while it has traffic, and at the end of the hold. A time in the past is due.
    """
    analysis = analysis_of(policy)
    if analysis is None or state.canary is None or state.phase not in ON_TRIAL:
        return None
    last = state.step_started_at
    if state.assessment is not None:
        last = max(last, state.assessment.at)
    due = last + analysis.interval_s
    over = hold_over(state, policy)
    return min(due, over) if last < over else due


def hold_over(state: RolloutState, policy: RolloutPolicy) -> float:
    """Return when the current step's hold is over (Unix seconds)."""
    if state.phase is Phase.PROMOTING or policy.strategy is not Strategy.CANARY:
        return state.step_started_at
    current = policy.steps[min(state.step, len(policy.steps) - 1)]
    return state.step_started_at + current.hold_s


def assess(state: RolloutState, look: Look) -> RolloutState:
    """Take in a look at the canary's figures, once."""
    seen = look.seen
    relevant = state.phase in ON_TRIAL and seen.canary == state.canary is not None
    if not relevant or seen.judgement is None or seen.judged_at is None:
        return state
    before = state.assessment
    last = state.step_started_at if before is None else before.at
    if look.analysis is None or not last < seen.judged_at <= look.now:
        return state
    match seen.judgement.verdict:
        case Verdict.PASS:
            failures = 0
        case Verdict.FAIL:
            failures = 1 + (before.failures if before else 0)
        case Verdict.INCONCLUSIVE | Verdict.ERROR:
            failures = before.failures if before else 0
    found = Assessment(seen.judgement.verdict, seen.judgement.message, seen.judged_at, failures)
    return replace(state, assessment=found)


def is_condemned(state: RolloutState, look: Look) -> bool:
    """Return whether enough looks in a row said Fail."""
    analysis = look.analysis
    if analysis is None or state.assessment is None or state.phase not in ON_TRIAL:
        return False
    return state.assessment.failures >= analysis.failure_limit


def undecided(state: RolloutState, look: Look) -> tuple[Undecided, str] | None:
    """Return why a step whose hold is over may not be left yet, or None if it may.

    Only a look after the hold's end lets it go on: what was seen earlier in the step may miss
    what grows worse with time, and may be the last there was before the figures went missing.
    """
    if look.analysis is None:
        return None
    found = state.assessment
    if found is None or found.at < hold_over(state, look.policy):
        return Undecided.INCONCLUSIVE, "nothing was measured since the step's hold was over"
    match found.verdict:
        case Verdict.PASS:
            return None
        case Verdict.FAIL:
            return Undecided.FAILING, found.message
        case Verdict.INCONCLUSIVE:
            return Undecided.INCONCLUSIVE, found.message
        case Verdict.ERROR:
            return Undecided.ANALYSIS_ERROR, found.message


def wait_for(
    state: RolloutState, look: Look, why: Undecided, message: str
) -> tuple[RolloutState, str]:
    """Hold the trial for want of a verdict; after the progress deadline a person has to say."""
    clock = look.clock(state)
    since = clock if state.undecided_since is None else state.undecided_since
    limit_s = look.policy.progress_deadline_s
    state = replace(state, undecided_since=since)
    if state.paused is not None or look.now < since + limit_s:
        return state, why.value
    text = (
        f"undecided for {limit_s:g} s: {message}. "
        f"promote goes on without a verdict, resume waits again, abort takes it back"
    )
    return replace(state, paused=Pause(look.now, why.value, text), message=text), why.value


def enter(state: RolloutState, look: Look, index: int) -> RolloutState:
    """Begin a step, or the promotion if there are no more; traffic follows what is ready."""
    steps = look.steps(state)
    phase = Phase.PROGRESSING if index < len(steps) else Phase.PROMOTING
    message = f"{state.canary} is about to serve all requests"
    if phase is Phase.PROGRESSING:
        message = f"step {index + 1} of {len(steps)}: {state.canary} has {steps[index].weight} %"
    return replace(
        state,
        phase=phase,
        step=min(index, len(steps) - 1),
        step_started_at=look.now,
        undecided_since=None,
        assessment=None,
        message=message,
    )


def carry(state: RolloutState, look: Look) -> RolloutState:
    """Give the canary what its ready replicas can carry of the step's share; less than it has
    only if the step itself is smaller, and then as far as stable's replicas can take it back.
    """
    want, has = look.want(state), state.weight or 0
    if want < has:
        weight = max(want, look.kept(state))
    elif state.paused is None:
        weight = min(want, max(has, look.affordable(state)))
    else:
        return state
    began = look.now if weight == want != has else state.step_started_at
    return replace(state, weight=weight, step_started_at=began)


def relieve(state: RolloutState, look: Look) -> RolloutState:
    """Take from a canary that lost replicas what the others cannot carry and stable can."""
    bearable = min(state.weight or 0, look.bearable(state))
    return replace(state, weight=max(bearable, look.kept(state)))


def end_trial(state: RolloutState) -> RolloutState:
    """Forget what was remembered of a canary."""
    return replace(
        state,
        canary=None,
        weight=None,
        unready_since=None,
        undecided_since=None,
        assessment=None,
        paused=None,
        capacity=None,
    )


def begin(state: RolloutState, revision: str, look: Look) -> RolloutState:
    """Put a revision on trial from the first step; one that answers for stable goes on with it."""
    carried = next((item for item in state.carriers if item.revision == revision), None)
    state = replace(
        state,
        phase=Phase.STARTING,
        canary=revision,
        step=0,
        unready_since=look.now,
        retained=tuple(item for item in state.retained if item.revision != revision),
        message=f"waiting for {revision} to become ready",
    )
    if carried is None:
        return state
    return replace(
        state,
        phase=Phase.PROGRESSING,
        step_started_at=look.now,
        unready_since=None,
        weight=carried.weight,
        capacity=carried.capacity,
        message=f"{revision} keeps {carried.weight} % and is tried anew",
    )


def drop_canary(state: RolloutState, look: Look) -> RolloutState:
    """Take the canary's traffic away, as far as stable is ready for it; its replicas end once no
    gateway sends it anything.
    """
    if state.canary is None:
        return state
    has_traffic = state.stable is not None and state.phase in ON_TRIAL
    weight = (state.weight or 0) if has_traffic else 0
    wait_s = max(look.policy.progress_deadline_s, DRAIN_S) if weight else DRAIN_S
    gone = Retained(
        state.canary,
        look.now + wait_s,
        weight=weight,
        capacity=state.capacity if weight else None,
    )
    return give_back(replace(end_trial(state), retained=(*state.retained, gone)), look)


def fail(state: RolloutState, look: Look, why: str) -> RolloutState:
    """Withdraw the canary, and do not try it again."""
    if state.stable is None:
        # Nothing serves, so nothing is taken away: it stays, and may yet become ready.
        return replace(state, phase=Phase.FAILED, message=why)
    failed = state.canary
    state = drop_canary(state, look)
    if any(item.revision == failed for item in state.carriers):
        why += f"; it answers only what {state.stable} has no ready replicas for"
    return replace(state, phase=Phase.FAILED, failed=failed, step=0, message=why)


def promote(state: RolloutState, look: Look) -> RolloutState:
    """Retarget the roles: no replica starts or ends here."""
    retained = state.retained
    if state.stable is not None:
        whole = state.capacity is None and look.policy.strategy is not Strategy.RECREATE
        # What was lent or has ended already is no way back; it only drains.
        warm_s = max(look.policy.retain_stable_s, DRAIN_S) if whole else DRAIN_S
        old = Retained(state.stable, look.now + warm_s, proven=whole)
        retained = (*retained, old)
    new = state.canary
    return replace(
        end_trial(state), phase=Phase.STABLE, stable=new, step=0, retained=retained, message=""
    )
