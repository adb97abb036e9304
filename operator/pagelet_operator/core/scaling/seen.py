"""What was measured of a model at one moment, and whether it can be believed."""

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One reading. Figures of engines are of this moment, those of gateways of the last minute."""

    ready: int
    """Replicas that answer requests."""
    at: float | None = None
    """When engines were read (Unix seconds); None for never."""
    asked: int = 0
    """Replicas that exist in whatever state."""
    answered: int = 0
    """Of the ready replicas, those that told their figures."""
    running: float = 0.0
    """Sequences being computed, all replicas together."""
    waiting: float = 0.0
    """Sequences waiting for their first step, all together."""
    kv_usage: float = 0.0
    """Share of KV blocks in use, mean of replicas."""
    served_per_s: float = 0.0
    """Requests that ended well."""
    unserved_per_s: float = 0.0
    """Requests that failed or ran out of time."""
    in_flight: float = 0.0
    """Requests under way by Little's law, as gateways counted them."""
    tokens_per_s: float | None = None
    """Output tokens, all together; None where nobody counted."""
    ttft_p99_s: float | None = None
    """None where too few requests began."""
    itl_p99_s: float | None = None
    held: int = 0
    """Requests that gateways hold because no replica is ready."""
    long_prompts: bool = False
    """Whether few huge prompts make most of the work."""
    settled: bool = True
    """Whether no rollout is under way."""


def fault(seen: Seen, now: float, fresh_s: float) -> str | None:
    """Return why nothing may be concluded from a reading, or None: it can be used.

    Args:
        seen: The reading.
        now: Unix seconds.
        fresh_s: How old it may be.
    """
    for field in fields(seen):
        value = getattr(seen, field.name)
        # The p99 of a histogram is infinite above its last bucket: late, but a fact.
        late = field.name in ("ttft_p99_s", "itl_p99_s") and value == math.inf
        if isinstance(value, float) and not late and (not math.isfinite(value) or value < 0):
            return f"{field.name} is {value}"
    if seen.at is None:
        return "no replica told its figures"
    if seen.at > now + fresh_s:
        return f"the figures are from {seen.at - now:.0f} s ahead: clocks differ"
    if seen.at < now - fresh_s:
        return f"the figures are {now - seen.at:.0f} s old"
    if seen.kv_usage > 1.0:
        return f"kv_usage is {seen.kv_usage}"
    return None


def contradicts(seen: Seen) -> bool:
    """Return whether gateways saw far more requests than engines admit to.

    Engines are read at moments, gateways over a minute; a factor of two and a few requests lie
    between them without anybody being wrong.
    """
    return seen.in_flight > 2.0 * (seen.running + seen.waiting) + 4.0
