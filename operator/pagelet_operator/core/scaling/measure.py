"""From a reading to what it is worth: a sample, in sequences that want to be computed at once.

Replicas that are full hide what waits outside, and what waits piles up for as long as nobody
comes to help: neither the sequences being computed nor the queue says how many replicas the
traffic needs. By Little's law arrivals per second times the time one sequence takes do. Arrivals
are what was served, what piled up and what failed beside a queue. So a queue that grows for the
ten minutes of a cold start asks for the same replicas at its end as at its beginning, and a
bounded part more to work it off.
"""

import math
from collections.abc import Sequence

from pagelet_operator.core.scaling.policy import ScalingPolicy, Targets
from pagelet_operator.core.scaling.seen import Seen, contradicts
from pagelet_operator.core.scaling.state import Sample

GROWTH_S = 60.0
"""How far back a queue's growth is looked at."""

MAX_RISE = 4.0
"""One reading's demand is at most this multiple of what is computed at once: above, the figures
are of a moment and no measure of anything."""

CATCH_UP_S = 120.0
"""In which a queue should be worked off."""

MAX_CATCH_UP = 0.5
"""Of the demand: replicas that only work off a queue stand idle once it is gone."""

LOW_SHARE = 0.5
"""Of a target: below it a signal is low."""

LOW_LATENCY_SHARE = 0.8
"""Of a latency target; a latency has a floor that no number of replicas lowers."""


def measure(seen: Seen, before: Sequence[Sample], policy: ScalingPolicy, now: float) -> Sample:
    """Return what a believable reading with a ready replica is worth.

    Args:
        seen: The reading.
        before: Samples so far, oldest first.
        policy: What is asked for.
        now: Unix seconds.
    """
    breach = missed_target(seen, policy.targets)
    arrives, catch_up = _demand(seen, before, now)
    return Sample(
        at=now,
        ready=seen.ready,
        running=seen.running,
        waiting=seen.waiting,
        served_per_s=seen.served_per_s,
        demand=arrives,
        catch_up=catch_up,
        kv_replicas=seen.kv_usage * seen.ready,
        tokens_per_s=seen.tokens_per_s or 0.0,
        breach=breach,
        low=breach is None and _is_low(seen, policy.targets),
        idle=seen.answered >= seen.ready and not _has_requests(seen),
    )


def missed_target(seen: Seen, targets: Targets) -> str | None:
    """Return the reason that names the missed target, or None."""
    if _above(seen.ttft_p99_s, targets.ttft_p99_s, 1.0):
        return "TtftAboveTarget"
    if _above(seen.itl_p99_s, targets.itl_p99_s, 1.0):
        return "ItlAboveTarget"
    if seen.waiting > targets.queue_depth * seen.ready:
        return "QueueAboveTarget"
    return None


def _has_requests(seen: Seen) -> bool:
    counted = (seen.running, seen.waiting, seen.in_flight, seen.served_per_s, seen.unserved_per_s)
    return seen.held > 0 or any(counted)


def _is_low(seen: Seen, targets: Targets) -> bool:
    return not (
        _above(seen.ttft_p99_s, targets.ttft_p99_s, LOW_LATENCY_SHARE)
        or _above(seen.itl_p99_s, targets.itl_p99_s, LOW_LATENCY_SHARE)
        or seen.waiting > LOW_SHARE * targets.queue_depth * seen.ready
        or seen.answered < seen.ready
        or contradicts(seen)
    )


def _above(value: float | None, target: float | None, share: float) -> bool:
    return value is not None and target is not None and value > share * target


def _demand(seen: Seen, before: Sequence[Sample], now: float) -> tuple[float, float]:
    """Return what arrives, and what a queue asks for besides."""
    if seen.waiting == 0:
        return seen.running, 0.0
    took_s = _service_time_s(seen, before)
    if took_s is None:
        return seen.running + min(seen.waiting, seen.running), 0.0
    growth_per_s = _growth_per_s(seen, before, now)
    arrives = (seen.served_per_s + growth_per_s + seen.unserved_per_s) * took_s
    arrives = min(max(0.0, arrives), MAX_RISE * max(1.0, seen.running))
    return arrives, min(MAX_CATCH_UP * arrives, seen.waiting * took_s / CATCH_UP_S)


def _service_time_s(seen: Seen, before: Sequence[Sample]) -> float | None:
    """Return how long one sequence is computed, by Little's law over all samples."""
    running = math.fsum(sample.running for sample in before) + seen.running
    served = math.fsum(sample.served_per_s for sample in before) + seen.served_per_s
    return running / served if served > 0 else None


def _growth_per_s(seen: Seen, before: Sequence[Sample], now: float) -> float:
    """Return by how many sequences per second the work under way grows; below 0 where it falls."""
    first = next((sample for sample in before if now - GROWTH_S <= sample.at < now), None)
    if first is None:
        return 0.0
    return (seen.running + seen.waiting - first.running - first.waiting) / (now - first.at)
