"""What the scaler learns while it works: how much one replica carries, and how long one takes.

The capacity rises by little as long as busy replicas keep their targets with room to spare, and
falls at once when a target is missed although every replica is there (additive increase,
multiplicative decrease: Chiu and Jain, "Analysis of the increase and decrease algorithms", 1989).
"""

from dataclasses import replace

from pagelet_operator.core.scaling.measure import GROWTH_S
from pagelet_operator.core.scaling.policy import ScalingPolicy
from pagelet_operator.core.scaling.state import SHAPE, Sample, ScalerState

FIRST_SHARE = 0.5
"""Of a replica's places, until something else was learned: half of a batch is free."""

BUSY_SHARE = 0.8
"""Of the capacity: replicas below it prove nothing about it."""

RISE = 0.02
FALL = 0.9

SATURATED = 1.0
"""Waiting sequences per replica from which on its tokens per second are all it can give."""

SHORTEST_COLD_START_S = 5.0
LONGEST_COLD_START_S = 1800.0


def capacity(state: ScalerState, policy: ScalingPolicy) -> float:
    """Return the sequences at once that one replica carries within the targets; 1 or more."""
    if state.capacity is None:
        return max(1.0, FIRST_SHARE * policy.places)
    return min(max(1.0, state.capacity), float(max(1, policy.places)))


def learn(state: ScalerState, policy: ScalingPolicy, sample: Sample) -> ScalerState:
    """Return what is known after one more sample, which is the last of `state.samples`."""
    state = _learn_tokens(state, sample)
    if state.pending_since is not None:
        return state  # Too few replicas miss any target: that says nothing of one.
    known = capacity(state, policy)
    each = sample.demand / sample.ready
    if is_lasting(state, sample) and _may_lower(state, sample):
        lowered = max(1.0, FALL * min(known, each))
        return replace(state, capacity=lowered, learned_at=sample.at)
    if sample.low and sample.running / sample.ready >= BUSY_SHARE * known:
        return replace(state, capacity=min(float(policy.places), known * (1.0 + RISE)))
    return state


def is_lasting(state: ScalerState, sample: Sample) -> bool:
    """Return whether the number of requests makes a target missed for the second time in a row.

    Once may be a spike.
    """
    last_two = state.samples[-2:]
    return len(last_two) == 2 and all(s.breach not in (None, SHAPE) for s in (*last_two, sample))


def note_pending(state: ScalerState, ready: int, now: float) -> ScalerState:
    """Return the state with cold starts measured from a look at the ready replicas."""
    asked = state.replicas or 0
    if ready < asked:
        if state.pending_since is None:
            return replace(state, pending_since=now, pending_from=ready)
        return state
    if state.pending_since is None:
        return state
    took_s = now - state.pending_since
    started = ready > state.pending_from
    state = replace(state, pending_since=None, pending_from=0)
    return replace(state, cold_start_s=_blend(state.cold_start_s, took_s)) if started else state


def _blend(known_s: float | None, took_s: float) -> float:
    """Return a cold start to reckon with: a longer one counts at once, a shorter one by half."""
    took_s = min(max(took_s, SHORTEST_COLD_START_S), LONGEST_COLD_START_S)
    return took_s if known_s is None else max(took_s, (known_s + took_s) / 2)


def _may_lower(state: ScalerState, sample: Sample) -> bool:
    """Whether the last minute, which figures are of, saw no change of what they depend on."""
    since = sample.at - GROWTH_S
    changed = any(change.at > since for change in state.changes)
    return not changed and (state.learned_at is None or state.learned_at <= since)


def _learn_tokens(state: ScalerState, sample: Sample) -> ScalerState:
    if sample.waiting < SATURATED * sample.ready or not sample.tokens_per_s:
        return state
    each = sample.tokens_per_s / sample.ready
    known = state.tokens_capacity
    if known is not None and each <= known:
        return state
    return replace(state, tokens_capacity=each)
