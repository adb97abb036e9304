"""From results to figures. Definitions, since load tools differ in them:

- TTFT: from when a request was due to its first token event (`core.stream` defines that). In a
  closed loop it is due when it is sent; in an open loop by the clock, so that a generator that
  sends late shows longer times, not shorter ones (coordinated omission).
- ITL: gaps between neighbouring token events of a request, all requests pooled. Events that
  arrive in one read share their time, so a server that sends several tokens at once shows gaps
  near zero and a few long ones: that is what its reader sees.
- mean ITL, elsewhere called TPOT: per request, (last token event - first token event) / (output
  tokens - 1).
- e2e: from when a request was due to the end of its answer.
- duration: from the first request sent to the last answer's end.
- output and total tokens per second: tokens of successful requests over the duration.

Latencies are of successful requests only, so read them beside the failure counts. Percentiles
are nearest-rank: always a value that was measured, never an interpolation.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pagelet_bench.core.result import Outcome, RequestResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """A sample of durations, seconds; None wherever there are no values."""

    count: int
    mean_s: float | None
    p50_s: float | None
    p90_s: float | None
    p95_s: float | None
    p99_s: float | None
    max_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one run measured.

    Attributes:
        failures: Count by outcome, only outcomes that occurred, without `ok`.
        examples: One sentence by outcome, the first seen.
        short_outputs: Successful requests that brought fewer tokens than asked for.
        max_late_s: Worst delay of an open-loop request behind its due time; if it is large,
            the generator was the bottleneck and the figures say more of it than of the server.
    """

    planned: int
    ok: int
    failures: dict[str, int]
    examples: dict[str, str]
    short_outputs: int
    max_late_s: float
    duration_s: float
    prompt_tokens: int
    output_tokens: int
    requests_per_s: float
    output_tokens_per_s: float
    total_tokens_per_s: float
    ttft: Latency
    itl: Latency
    mean_itl: Latency
    e2e: Latency

    @property
    def failed(self) -> int:
        """Requests that ended in anything but success."""
        return sum(self.failures.values())

    @property
    def unfinished(self) -> int:
        """Requests that had not ended, or never began, when the run was interrupted."""
        return self.planned - self.ok - self.failed


def percentile(ascending: Sequence[float], percent: int) -> float:
    """Return the smallest value that at least `percent` % of a non-empty sample do not exceed."""
    rank = -(-percent * len(ascending) // 100)  # ceil in integers: no rounding error at p90 of 10
    return ascending[max(rank, 1) - 1]


def summarize(values: Iterable[float | None]) -> Latency:
    """Describe a sample, leaving out what is None."""
    ascending = sorted(value for value in values if value is not None)
    if not ascending:
        return Latency(
            count=0, mean_s=None, p50_s=None, p90_s=None, p95_s=None, p99_s=None, max_s=None
        )
    return Latency(
        count=len(ascending),
        mean_s=sum(ascending) / len(ascending),
        p50_s=percentile(ascending, 50),
        p90_s=percentile(ascending, 90),
        p95_s=percentile(ascending, 95),
        p99_s=percentile(ascending, 99),
        max_s=ascending[-1],
    )


def report(results: Sequence[RequestResult], *, planned: int) -> Report:
    """Compute the figures of a run from whatever finished of it, which may be nothing."""
    ok = [result for result in results if result.outcome is Outcome.OK]
    failed = [result for result in results if result.outcome is not Outcome.OK]
    duration_s = _duration_s(results)
    prompt_tokens = sum(result.prompt_tokens for result in ok)
    output_tokens = sum(result.output_tokens for result in ok)
    per_s = 1.0 / duration_s if duration_s > 0 else 0.0
    return Report(
        planned=planned,
        ok=len(ok),
        failures=dict(sorted(Counter(result.outcome.value for result in failed).items())),
        examples={result.outcome.value: result.detail for result in reversed(failed)},
        short_outputs=sum(result.output_tokens < result.requested_tokens for result in ok),
        max_late_s=max((result.late_s for result in results), default=0.0),
        duration_s=duration_s,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        requests_per_s=len(ok) * per_s,
        output_tokens_per_s=output_tokens * per_s,
        total_tokens_per_s=(prompt_tokens + output_tokens) * per_s,
        ttft=summarize(result.ttft_s for result in ok),
        itl=summarize(gap for result in ok for gap in result.gaps_s),
        mean_itl=summarize(result.mean_itl_s for result in ok),
        e2e=summarize(result.e2e_s for result in ok),
    )


def _duration_s(results: Sequence[RequestResult]) -> float:
    if not results:
        return 0.0
    first = min(result.started_s for result in results)
    return max(result.ended_s for result in results) - first
