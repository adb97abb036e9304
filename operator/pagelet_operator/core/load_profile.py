"""A load test's figures: what makes them comparable, and when the canary's are worse.

The stable revision's profile was stored when it was tested itself. Figures of another load say
nothing about this one, so a profile is compared only with one of the same load. Percentiles are
left out where the sample is too small for them to be more than its largest value.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pagelet_operator.core.gates import GateResult, GateStatus
from pagelet_operator.core.measure import Metric, shown

LATENCIES: Mapping[Metric, tuple[str, int]] = {
    Metric.TTFT_P50: ("requests", 8),
    Metric.TTFT_P95: ("requests", 40),
    Metric.TTFT_P99: ("requests", 200),
    Metric.ITL_P50: ("gaps", 8),
    Metric.ITL_P95: ("gaps", 200),
    Metric.ITL_P99: ("gaps", 1000),
}
"""What is compared, and how much of which figure it takes: two values above the percentile, and
ten gaps for one request's, since gaps of one request are alike."""

NOISE_S = 0.002
"""Differences below are the machine's, not the revision's: a scheduler's time slice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How much worse than the stable revision's profile a canary's may be."""

    max_increase_percent: float
    """Of each latency."""
    max_decrease_percent: float
    """Of output tokens per second, all requests together."""
    max_error_percent: float
    """Requests that failed or ran out of time; absolute."""


def tolerance(limits: Mapping[str, float]) -> Tolerance:
    """Return a gate's limits as a tolerance."""
    return Tolerance(
        max_increase_percent=limits["maxIncreasePercent"],
        max_decrease_percent=limits["maxDecreasePercent"],
        max_error_percent=limits["maxErrorPercent"],
    )


def judge(
    figures: Mapping[str, float], stable: Mapping[str, float] | None, allowed: Tolerance
) -> GateResult:
    """Return a load test's result.

    Args:
        figures: Of the canary, by name; latencies in seconds, rates in percent.
        stable: Stored figures of the stable revision under the same load, if there are any.
        allowed: How much worse they may be.
    """
    if not figures.get("requests"):
        return GateResult(status=GateStatus.ERROR, message="no request was measured")
    worse = _faults(figures, allowed)
    if stable is not None:
        worse += _losses(figures, stable, allowed)
    if worse:
        return GateResult(status=GateStatus.FAILED, message="; ".join(worse), figures=figures)
    compared = "no profile of stable to compare with" if stable is None else "as good as stable"
    told = f"{_summary(figures)}; {compared}"
    return GateResult(status=GateStatus.PASSED, message=told, figures=figures)


def _faults(figures: Mapping[str, float], allowed: Tolerance) -> list[str]:
    rate = figures.get("errorRate", 0.0) + figures.get("timeoutRate", 0.0)
    if rate <= allowed.max_error_percent:
        return []
    return [
        f"{figures.get('errorRate', 0.0):.3g} % of requests failed and "
        f"{figures.get('timeoutRate', 0.0):.3g} % ran out of time, at most "
        f"{allowed.max_error_percent:g} % may"
    ]


def _losses(
    figures: Mapping[str, float], stable: Mapping[str, float], allowed: Tolerance
) -> list[str]:
    worse = []
    for metric, (sample, least) in LATENCIES.items():
        now, before = figures.get(metric), stable.get(metric)
        enough = min(figures.get(sample, 0), stable.get(sample, 0)) >= least
        if now is None or before is None or not enough:
            continue
        limit = before * (1 + allowed.max_increase_percent / 100)
        if now > limit and now - before > NOISE_S:
            worse.append(
                f"{metric} {shown(metric, now)}, stable's {shown(metric, before)}, "
                f"at most {shown(metric, limit)}"
            )
    return worse + _slower(figures, stable, allowed)


def _slower(
    figures: Mapping[str, float], stable: Mapping[str, float], allowed: Tolerance
) -> list[str]:
    now, before = figures.get("outputTokensPerSecond"), stable.get("outputTokensPerSecond")
    if now is None or before is None:
        return []
    limit = before * (1 - allowed.max_decrease_percent / 100)
    if now >= limit:
        return []
    return [f"{now:.4g} output tokens/s, stable's {before:.4g}, at least {limit:.4g}"]


def _summary(figures: Mapping[str, float]) -> str:
    parts = [
        f"{metric} {shown(metric, figures[metric])}"
        for metric in (Metric.TTFT_P95, Metric.ITL_P95)
        if metric in figures
    ]
    speed = figures.get("outputTokensPerSecond")
    parts += [] if speed is None else [f"{speed:.4g} output tokens/s"]
    return ", ".join(parts)
