"""A gate's figures as a small document: what the operator reads, judges and stores.

It has to fit the 4096 bytes that Kubernetes keeps of a container's last words, so numbers have
four digits and distributions are a few percentiles or buckets.
Source: https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
"""

import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

from pagelet_bench.core.report import percentile, report
from pagelet_bench.core.result import Outcome, RequestResult

SCHEMA_VERSION = 1
MAX_BYTES = 4096

LENGTH_BOUNDS = tuple(2**power for power in range(3, 18))
"""Upper bounds of token counts, 8 to 131072; the engine's length histograms have the same."""

CURVE_PERCENTS = (0, 5, 10, 25, 50, 75, 90, 95, 99, 100)

Document = dict[str, object]


def document(
    kind: str,
    figures: Mapping[str, float],
    message: str = "",
    curves: Mapping[str, Sequence[float]] | None = None,
    lengths: Mapping[str, Sequence[int]] | None = None,
) -> Document:
    """Lay a gate's figures out.

    Args:
        kind: warmup, parity or loadTest.
        figures: By name; latencies in seconds, rates in percent.
        message: What a person should know beside them.
        curves: Values at `CURVE_PERCENTS`, by name.
        lengths: Counts by bucket of `LENGTH_BOUNDS` and above, by name.
    """
    return {
        "schema": SCHEMA_VERSION,
        "kind": kind,
        "figures": {name: _short(value) for name, value in figures.items()},
        "message": message[:300],
        "curves": {name: [_short(v) for v in values] for name, values in (curves or {}).items()},
        "lengths": {name: list(counts) for name, counts in (lengths or {}).items()},
    }


def encoded(found: Document) -> bytes:
    """Write the document in as few bytes as possible."""
    data = json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode()
    assert len(data) <= MAX_BYTES, "the parts of a summary are bounded"
    return data


def curve(values: Iterable[float | None]) -> list[float]:
    """Return the values at `CURVE_PERCENTS`; empty for an empty sample."""
    ascending = sorted(value for value in values if value is not None)
    return [percentile(ascending, percent) for percent in CURVE_PERCENTS] if ascending else []


def by_length(tokens: Iterable[int]) -> list[int]:
    """Count token counts by bucket of `LENGTH_BOUNDS`, and those above in one more."""
    counts = [0] * (len(LENGTH_BOUNDS) + 1)
    for count in tokens:
        counts[bisect_left(LENGTH_BOUNDS, count)] += 1
    return counts


def load_figures(results: Sequence[RequestResult], planned: int) -> dict[str, float]:
    """Return the figures of a load; names as in `spec.rollout.analysis`, and a few more."""
    found = report(results, planned=planned)
    ended = len(results)
    late = found.failures.get(Outcome.TIMED_OUT.value, 0)
    busy_s = sum(result.e2e_s for result in results if result.outcome is Outcome.OK)
    figures = {
        "requests": float(ended),
        "gaps": float(found.itl.count),
        "errorRate": 100.0 * (found.failed - late) / max(1, ended),
        "timeoutRate": 100.0 * late / max(1, ended),
        "outputTokensPerSecond": found.output_tokens_per_s,
        "tokensPerSecond": found.output_tokens / busy_s if busy_s > 0 else 0.0,
        "promptTokens": float(found.prompt_tokens),
        "outputTokens": float(found.output_tokens),
        "durationSeconds": found.duration_s,
    }
    for name, latency in (("ttft", found.ttft), ("itl", found.itl)):
        points = {"P50": latency.p50_s, "P95": latency.p95_s, "P99": latency.p99_s}
        figures |= {f"{name}{at}": value for at, value in points.items() if value is not None}
    return figures


def _short(value: float) -> float:
    return float(f"{value:.4g}")
