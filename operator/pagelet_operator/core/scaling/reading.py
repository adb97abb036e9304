"""From what replicas and gateways told to one reading of a model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pagelet_operator.core.model import Fleet, RevisionFleet
from pagelet_operator.core.scaling.seen import Seen
from pagelet_operator.core.window import Histogram, Window

SPAN_S = 60.0
"""What figures of gateways are of: long enough for a tail, short enough for a decision."""

MIN_REQUESTS = 50
"""First tokens in that time before their p99 is more than the slowest one."""

MIN_GAPS = 500
"""The same for gaps between tokens, of which a request has many that are alike."""

LONG_PROMPTS = 8.0
"""The p99 of prompt lengths over their median, above which few prompts are most of the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaLoad:
    """What one replica told of itself."""

    at: float
    """When, Unix seconds."""
    running: float
    """Sequences being computed."""
    waiting: float
    """Sequences waiting for their first step."""
    kv_usage: float
    """Share of its KV blocks in use."""

    @property
    def streams(self) -> float:
        """Requests that would have to end before it can."""
        return self.running + self.waiting


def reading(
    fleet: Fleet,
    stable: str | None,
    canary: str | None,
    loads: Mapping[str, ReplicaLoad],
    windows: Mapping[str, Window],
    *,
    fresh_since: float,
) -> Seen:
    """Return what is known of a model now.

    During a rollout the traffic of both revisions counts, and their replicas up to the number a
    revision has in full.

    Args:
        fleet: What the world shows.
        stable: The revision that serves.
        canary: The revision on trial.
        loads: What replicas told, by endpoint.
        windows: What was counted over the last `SPAN_S`, by revision.
        fresh_since: Older words of a replica count as none.
    """
    serving = [
        revision
        for name, revision in fleet.revisions.items()
        # Where nobody remembers who serves, whatever exists may.
        if stable is None or name in (stable, canary)
    ]
    asked = max((revision.replicas for revision in serving), default=0)
    told = [load for load in _told(serving, loads) if load.at >= fresh_since]
    ready = sum(revision.ready for revision in serving)
    counted = [windows[revision.revision] for revision in serving if revision.revision in windows]
    seen = Seen(
        ready=min(asked, ready),
        asked=asked,
        at=min((load.at for load in told), default=None),
        answered=min(asked, ready) if len(told) == ready else 0,
        running=sum(load.running for load in told),
        waiting=sum(load.waiting for load in told),
        kv_usage=sum(load.kv_usage for load in told) / max(1, len(told)),
        settled=canary is None,
    )
    return _with_counts(seen, counted) if counted else seen


def streams(loads: Mapping[str, ReplicaLoad]) -> dict[str, float]:
    """Return the streams under way by endpoint."""
    return {endpoint: load.streams for endpoint, load in loads.items()}


def _told(
    serving: Iterable[RevisionFleet], loads: Mapping[str, ReplicaLoad]
) -> Iterable[ReplicaLoad]:
    endpoints = (endpoint for revision in serving for endpoint in revision.endpoints)
    return (loads[endpoint] for endpoint in endpoints if endpoint in loads)


def _with_counts(seen: Seen, windows: list[Window]) -> Seen:
    total = windows[0]
    for window in windows[1:]:
        total = total + window
    span_s = max(1.0, total.span_s)
    failed = total.errors + total.timeouts
    return replace(
        seen,
        served_per_s=max(0, total.requests - failed - total.refusals) / span_s,
        unserved_per_s=failed / span_s,
        in_flight=total.request_seconds / span_s,
        tokens_per_s=None if total.output_tokens is None else total.output_tokens / span_s,
        ttft_p99_s=_p99(total.ttft, MIN_REQUESTS),
        itl_p99_s=_p99(total.itl, MIN_GAPS),
        long_prompts=_are_few_long(total.prompt_lengths),
    )


def _p99(histogram: Histogram, least: int) -> float | None:
    return histogram.quantile(0.99) if histogram.total >= least else None


def _are_few_long(prompts: Histogram) -> bool:
    if prompts.total < MIN_REQUESTS:
        return False
    median = prompts.quantile(0.5)
    return median > 0 and prompts.quantile(0.99) >= LONG_PROMPTS * median
