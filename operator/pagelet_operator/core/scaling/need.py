"""How many replicas the demand needs: for what is coming, and for what was."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pagelet_operator.core.scaling.experience import capacity, is_lasting
from pagelet_operator.core.scaling.forecast import forecast
from pagelet_operator.core.scaling.policy import TREND_S, ScalingPolicy
from pagelet_operator.core.scaling.state import COLD_START_S, Sample, ScalerState

LONGEST_HORIZON_S = 1800.0
"""No trend of minutes says anything of a later time."""

SPARE = 0.9
"""Of a replica's capacity, tokens or cache: what is given back must not be missed at once."""

TOKENS_SHARE = 0.9
"""Of the measured tokens per second: at all of them there is a queue."""

MISSED_STEP = 0.1
"""Of the replicas, one at least: what a missed target adds where the load explains nothing."""


@dataclass(frozen=True, slots=True)
class Need:
    """Replicas, and why."""

    replicas: int
    reason: str
    message: str


def coming(state: ScalerState, policy: ScalingPolicy, now: float) -> Need:
    """Return what is needed once a replica that is asked for now is ready.

    Of the last two samples the smaller one counts, so that one odd reading starts nothing.
    """
    last, pair = state.samples[-1], state.samples[-2:]
    horizon_s = horizon(state, policy, now)
    level = min(sample.demand for sample in pair)
    points = [(s.at, s.demand) for s in state.samples if s.at >= now - TREND_S]
    expected = forecast(points, level, horizon_s) + min(sample.catch_up for sample in pair)
    carried = capacity(state, policy)
    needs = [
        *_of_missed(state, last),
        Need(
            _ceil(_peak(expected) / carried),
            "LoadGrows",
            f"{expected:.3g} sequences at once expected in {horizon_s:.0f} s, "
            f"{carried:.3g} per replica",
        ),
        _of_cache(min(sample.kv_replicas for sample in pair), policy),
        *_of_tokens(min(sample.tokens_per_s for sample in pair), state),
    ]
    return max(needs, key=lambda need: need.replicas)


def lasting(state: ScalerState, policy: ScalingPolicy, samples: Sequence[Sample]) -> int:
    """Return what any of the samples needed, with room to spare; 1 without samples."""
    if not samples:
        return 1
    demand = max(sample.demand + sample.catch_up for sample in samples)
    cache = max(sample.kv_replicas for sample in samples)
    tokens = _of_tokens(max(sample.tokens_per_s for sample in samples), state)
    return max(
        1,
        _ceil(_peak(demand) / (SPARE * capacity(state, policy))),
        _ceil(cache / (SPARE * policy.targets.kv_cache_usage)),
        *(_ceil(need.replicas / SPARE) for need in tokens),
    )


def horizon(state: ScalerState, policy: ScalingPolicy, now: float) -> float:
    """Return in how many seconds a replica that is asked for now answers its first request.

    What is starting right now may take longer than any before it: the time so far is a measure.
    """
    measured = COLD_START_S if state.cold_start_s is None else state.cold_start_s
    so_far = 0.0 if state.pending_since is None else now - state.pending_since
    return min(LONGEST_HORIZON_S, max(measured, so_far) + policy.interval_s)


def _peak(demand: float) -> float:
    """Return the demand with one standard deviation of independent arrivals above it."""
    return demand + math.sqrt(demand)


def _of_cache(kv_replicas: float, policy: ScalingPolicy) -> Need:
    target = policy.targets.kv_cache_usage
    return Need(
        _ceil(kv_replicas / target),
        "KvCacheFull",
        f"KV caches of {kv_replicas:.3g} replicas are full, at most {target:.0%} of each may be",
    )


def _of_tokens(tokens_per_s: float, state: ScalerState) -> list[Need]:
    if not state.tokens_capacity:
        return []
    each = TOKENS_SHARE * state.tokens_capacity
    said = f"{tokens_per_s:.4g} tokens/s, one replica gives {state.tokens_capacity:.4g} at most"
    return [Need(_ceil(tokens_per_s / each), "TokensAtCapacity", said)]


def _of_missed(state: ScalerState, last: Sample) -> list[Need]:
    if not is_lasting(state, last) or state.pending_since is not None:
        return []
    more = last.ready + max(1, _ceil(MISSED_STEP * last.ready))
    return [
        Need(more, last.breach or "", f"missed twice in a row with {last.ready} ready replicas")
    ]


def _ceil(value: float) -> int:
    # Sums of floats miss whole numbers by their last digits; no replica is started for that.
    return math.ceil(value - 1e-9)
