"""What users feel of each revision, in round figures, for people. Decides nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

from pagelet_operator.core.measure import Metric, shown
from pagelet_operator.core.window import Window

SPAN_S = 60.0
"""How far back figures look, seconds: long enough for a tail, short enough to follow."""

REFRESH_S = 60.0
"""Between two sets of figures in a resource's status, seconds. A status that followed every
request would be written, watched and read without end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One revision's; a latency is None where nothing was streamed."""

    revision: str
    requests: int
    errors: int
    """Requests that failed: 5xx, no answer, broken off, or out of time."""
    ttft_p99: str | None
    itl_p99: str | None
    queue: str | None
    """Waiting requests, mean; None where no engine was read."""
    kv_cache: str | None
    """Blocks in use, mean; None where no engine was read."""
    tokens_per_second: str | None
    """Tokens generated per second, all replicas together; None where no engine was read."""


def figures(windows: Mapping[str, Window]) -> tuple[Figures, ...]:
    """Return the figures of revisions by name, sorted."""
    return tuple(_of(name, window) for name, window in sorted(windows.items()))


def _of(revision: str, window: Window) -> Figures:
    ttft, itl = window.ttft, window.itl
    queue = window.queue_sum / window.queue_samples if window.queue_samples else None
    return Figures(
        revision=revision,
        requests=window.requests,
        errors=window.errors + window.timeouts,
        ttft_p99=_two_digits(Metric.TTFT_P99, ttft.quantile(0.99)) if ttft.total else None,
        itl_p99=_two_digits(Metric.ITL_P99, itl.quantile(0.99)) if itl.total else None,
        queue=None if queue is None else f"{queue:.1f}",
        kv_cache=f"{window.kv_sum / window.kv_samples:.0%}" if window.kv_samples else None,
        tokens_per_second=_rate(window),
    )


def _rate(window: Window) -> str | None:
    if window.output_tokens is None or window.span_s <= 0:
        return None
    return f"{window.output_tokens / window.span_s:.1f}"


def _two_digits(metric: Metric, seconds: float) -> str:
    if seconds == float("inf"):
        return "over the scale"
    return shown(metric, float(f"{seconds:.2g}"))
