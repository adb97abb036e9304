"""How many replicas a model should have. `decide` is pure: state, policy and a reading in.

    reading ──believable?──no──► hold                       (bounds and held requests still count)
       │ yes
       ▼
    sample ──► learn ──► needed when a new replica is ready > replicas? ──► up, within its rate
                    └──► needed by no sample of the window, all low?    ──► down, one step

A number of replicas is decided, never a difference, and it is compared with what was decided
before, not with what is ready: replicas that start are part of the answer. Up asks for two
samples, down for a whole window without a gap.
"""

import math
from dataclasses import replace
from itertools import pairwise

from pagelet_operator.core.scaling import need
from pagelet_operator.core.scaling.experience import capacity, learn, note_pending
from pagelet_operator.core.scaling.measure import measure
from pagelet_operator.core.scaling.need import Need
from pagelet_operator.core.scaling.policy import TREND_S, ScalingPolicy
from pagelet_operator.core.scaling.seen import Seen, fault
from pagelet_operator.core.scaling.state import SHAPE, Change, Sample, ScaleDecision, ScalerState

RATE_S = 60.0
"""What rates are counted over."""

FEW = 0.5
"""Of what the replicas carry: fewer requests are no crowd."""

_SHAPE_SAID = (
    "few huge prompts make the first token late, not the number of requests: more replicas would "
    "not help, limits.maxPromptTokens would"
)


def decide(state: ScalerState, policy: ScalingPolicy, seen: Seen, now: float) -> ScaleDecision:
    """Decide how many replicas there should be. Safe to call at any time.

    Never scales down on a reading that is old, absent, partial or odd, nor after a gap in the
    readings; then the number stays what it was.

    Args:
        state: What the last call remembered; a fresh one adopts what exists.
        policy: What is asked for.
        seen: The reading.
        now: Unix seconds.
    """
    state = _within_memory(_adopt(state, policy, seen), policy, now)
    state = note_pending(state, seen.ready, now)
    why = fault(seen, now, policy.fresh_s)
    if state.samples and now < state.samples[-1].at + policy.interval_s:
        # Looks come with every event; only the clock makes readings of one moment two.
        wish = Need(_asked(state), state.reason, state.message)
    elif why is None and seen.ready > 0:
        sample = _with_shape(measure(seen, state.samples, policy, now), state, policy, seen)
        state = replace(
            state,
            samples=(*state.samples, sample),
            idle_since=_idle_since(state, policy, sample),
        )
        state = learn(state, policy, sample)
        wish = _wish(state, policy, seen, now)
    else:
        state = replace(state, idle_since=None)
        wish = _blind(state, seen, why)
    return _carried_out(state, policy, seen, wish, now)


def _adopt(state: ScalerState, policy: ScalingPolicy, seen: Seen) -> ScalerState:
    """Begin with what exists: whoever lost the memory must not end what serves."""
    if state.replicas is not None:
        return state
    return replace(state, replicas=max(policy.min_replicas, min(seen.asked, policy.max_replicas)))


def _within_memory(state: ScalerState, policy: ScalingPolicy, now: float) -> ScalerState:
    oldest = now - max(TREND_S, policy.down_window_s) - policy.fresh_s
    return replace(
        state,
        # Samples of the future are of a clock that was set back; they would never leave.
        samples=tuple(s for s in state.samples if oldest <= s.at <= now),
        changes=tuple(c for c in state.changes if now - RATE_S < c.at <= now),
    )


def _idle_since(state: ScalerState, policy: ScalingPolicy, sample: Sample) -> float | None:
    if not sample.idle:
        return None
    last_at = state.samples[-1].at if state.samples else -math.inf
    if state.idle_since is None or sample.at - last_at > policy.fresh_s:
        return sample.at  # In a gap anything may have happened.
    return state.idle_since


def _blind(state: ScalerState, seen: Seen, why: str | None) -> Need:
    asked = _asked(state)
    if seen.ready == 0 or why is None:
        return Need(asked, "NoReplicaReady", "no replica is ready, so none can tell its load")
    return Need(asked, "DataNotUsable", why)


def _wish(state: ScalerState, policy: ScalingPolicy, seen: Seen, now: float) -> Need:
    asked = _asked(state)
    if seen.settled and _is_idle(state, policy, now):
        said = f"no request for {now - (state.idle_since or now):.0f} s"
        return Need(0, "Idle", said)
    if len(state.samples) < 2:
        return Need(asked, "FirstReading", "one reading starts and ends nothing")
    wanted = need.coming(state, policy, now)
    if wanted.replicas > asked:
        return wanted
    if state.samples[-1].breach == SHAPE:
        return Need(asked, SHAPE, _SHAPE_SAID)
    return _down(state, policy, seen, wanted, now)


def _is_idle(state: ScalerState, policy: ScalingPolicy, now: float) -> bool:
    limit_s = policy.idle_to_zero_after_s
    return (
        limit_s is not None and state.idle_since is not None and now - state.idle_since >= limit_s
    )


def _with_shape(sample: Sample, state: ScalerState, policy: ScalingPolicy, seen: Seen) -> Sample:
    """Blame the requests where few of them are late: each is as slow beside more replicas."""
    few = sample.demand < FEW * capacity(state, policy) * sample.ready
    if sample.breach == "TtftAboveTarget" and seen.long_prompts and few:
        return replace(sample, breach=SHAPE)
    return sample


def _down(state: ScalerState, policy: ScalingPolicy, seen: Seen, wanted: Need, now: float) -> Need:
    asked = _asked(state)
    window = [s for s in state.samples if s.at >= now - policy.down_window_s - policy.interval_s]
    enough = max(wanted.replicas, need.lasting(state, policy, window))
    if enough >= asked:
        return Need(asked, "AtTarget", f"the demand needs {enough} of {asked} replicas")
    hold = _why_not_down(state, policy, seen, window, now)
    if hold is not None:
        return Need(asked, *hold)
    said = f"{enough} were enough at every moment of the last {policy.down_window_s:.0f} s"
    return Need(enough, "LoadFell", said)


def _why_not_down(
    state: ScalerState, policy: ScalingPolicy, seen: Seen, window: list[Sample], now: float
) -> tuple[str, str] | None:
    if not seen.settled:
        return "RolloutInProgress", "replicas are given back once the rollout is over"
    if state.pending_since is not None:
        return "WaitingForReplicas", f"{seen.ready} of {_asked(state)} replicas are ready"
    if not _is_covered(window, policy, now):
        return "WindowNotFull", f"readings do not cover the last {policy.down_window_s:.0f} s yet"
    if not all(sample.low for sample in window):
        return "NotAllLow", "a signal was not low, or a replica did not tell, in the window"
    quiet_s = math.inf if state.reversed_up_at is None else now - state.reversed_up_at
    if quiet_s < policy.settle_s:
        return "Settling", f"replicas given back were needed again {quiet_s:.0f} s ago"
    return None


def _is_covered(window: list[Sample], policy: ScalingPolicy, now: float) -> bool:
    """Whether samples reach back over the whole window without a gap."""
    times = [s.at for s in window]
    if not times or times[0] > now - policy.down_window_s:
        return False
    longest = max((later - earlier for earlier, later in pairwise(times)), default=0.0)
    return longest <= policy.fresh_s


def _carried_out(
    state: ScalerState, policy: ScalingPolicy, seen: Seen, wish: Need, now: float
) -> ScaleDecision:
    """Return the decision: the wish within rates and bounds, remembered."""
    wish = _bounded(_rated(state, policy, wish), state, policy, seen)
    inputs = _inputs(state, policy, seen, now)
    state = _changed(state, seen, wish.replicas, now)
    state = replace(state, reason=wish.reason, message=wish.message)
    return ScaleDecision(
        state=state,
        replicas=wish.replicas,
        reason=wish.reason,
        message=wish.message,
        inputs=inputs,
        wake_at=_next_reading_at(state, policy, now),
    )


def _rated(state: ScalerState, policy: ScalingPolicy, wish: Need) -> Need:
    """Return the wish as far as the last minute's changes leave room for it."""
    asked = _asked(state)
    first = state.changes[0].before if state.changes else asked
    if wish.replicas > asked:
        percent = math.ceil(first * policy.up_percent_per_minute / 100)
        highest = first + max(policy.up_replicas_per_minute, percent)
        if wish.replicas > highest:
            return Need(max(asked, highest), wish.reason, f"{wish.message}; {_limited(wish)}")
    elif 0 < wish.replicas < asked:
        lowest = first - max(1, first * policy.down_percent_per_minute // 100)
        if wish.replicas < lowest:
            return Need(min(asked, lowest), wish.reason, f"{wish.message}; {_limited(wish)}")
    return wish


def _limited(wish: Need) -> str:
    return f"{wish.replicas} are wanted, in steps"


def _bounded(wish: Need, state: ScalerState, policy: ScalingPolicy, seen: Seen) -> Need:
    lowest = policy.min_replicas
    if policy.idle_to_zero_after_s is not None:
        if wish.replicas == 0 and not seen.held:
            return wish
        if _asked(state) == 0 and seen.held:
            said = f"{seen.held} requests are held for the first replica"
            return Need(max(1, lowest), "RequestsWait", said)
    if wish.replicas > policy.max_replicas:
        said = f"{wish.message}; {wish.replicas} are wanted, scaling.maxReplicas allows no more"
        return Need(policy.max_replicas, "AtMaximum", said)
    if wish.replicas < lowest:
        said = f"scaling.minReplicas is {lowest}"
        return Need(lowest, "AtMinimum", said)
    return wish


def _changed(state: ScalerState, seen: Seen, replicas: int, now: float) -> ScalerState:
    asked = _asked(state)
    if replicas == asked:
        return state
    rising = replicas > asked
    back = rising and state.rising is False
    if rising and state.pending_since is None:
        state = replace(state, pending_since=now, pending_from=seen.ready)
    return replace(
        state,
        replicas=replicas,
        changes=(*state.changes, Change(now, asked, replicas)),
        rising=rising,
        reversed_up_at=now if back else state.reversed_up_at,
    )


def _next_reading_at(state: ScalerState, policy: ScalingPolicy, now: float) -> float:
    last_at = state.samples[-1].at if state.samples else now
    due = last_at + policy.interval_s
    return due if due > now else now + policy.interval_s


def _inputs(state: ScalerState, policy: ScalingPolicy, seen: Seen, now: float) -> dict[str, float]:
    """Return what was looked at; what nobody measured is left out."""
    found = {
        "ready": float(seen.ready),
        "running": seen.running,
        "waiting": seen.waiting,
        "kvCacheUsage": seen.kv_usage,
        "ttftP99": seen.ttft_p99_s,
        "itlP99": seen.itl_p99_s,
        "tokensPerSecond": seen.tokens_per_s,
        "demand": state.samples[-1].demand if state.samples else None,
        "capacity": capacity(state, policy),
        "coldStartSeconds": need.horizon(state, policy, now),
    }
    return {name: value for name, value in found.items() if value is not None}


def _asked(state: ScalerState) -> int:
    assert state.replicas is not None, "adopted at the beginning of decide"
    return state.replicas
