"""Goodput: what share of requests a user would call served well, and how many per second.

A request is good if it succeeded and met every limit that is given. Its ITL is its own 95th
percentile: a mean hides a stall, and a largest gap makes one packet that was late a bad answer.
Source of the notion: DistServe, Zhong et al. 2024.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pagelet_bench.core.errors import UsageError
from pagelet_bench.core.report import percentile
from pagelet_bench.core.result import Outcome, RequestResult

ITL_PERCENT = 95


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """What one request must not exceed; seconds, None for no limit.

    Attributes:
        share: Least share of requests that have to be good, a ratio in (0, 1].

    Raises:
        UsageError: A limit is not above 0, there is none, or the share is no share.
    """

    ttft_s: float | None = None
    itl_s: float | None = None
    e2e_s: float | None = None
    share: float = 0.99

    def __post_init__(self) -> None:
        """Refuse what nothing or everything would meet."""
        limits = {"slo-ttft": self.ttft_s, "slo-itl": self.itl_s, "slo-e2e": self.e2e_s}
        if all(limit is None for limit in limits.values()):
            raise UsageError("there is no limit; give one of slo-ttft, slo-itl and slo-e2e.")
        for name, limit in limits.items():
            if limit is not None and not limit > 0:
                raise UsageError(f"{name} is {limit}; it must be above 0 seconds.")
        if not 0 < self.share <= 1:
            raise UsageError(f"slo-share is {self.share}; it must be above 0 and at most 1.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodput:
    """How much of a run was good.

    Attributes:
        share: Good requests of all that were planned; what was not finished is not good.
        per_s: Good requests per second of the run.
        output_tokens_per_s: Their output tokens.
        missed: Requests that missed a limit, by its name; one may miss several. `failed` counts
            those that did not succeed.
    """

    slo: Slo
    good: int
    share: float
    per_s: float
    output_tokens_per_s: float
    missed: dict[str, int]

    @property
    def is_met(self) -> bool:
        """Whether the run as a whole kept the SLO."""
        return self.share >= self.slo.share


def misses(slo: Slo, result: RequestResult) -> tuple[str, ...]:
    """Name the limits that a request missed; empty for a good one."""
    if result.outcome is not Outcome.OK:
        return ("failed",)
    gaps = sorted(result.gaps_s)
    felt = {
        "ttft": (result.ttft_s, slo.ttft_s),
        "itl": (percentile(gaps, ITL_PERCENT) if gaps else None, slo.itl_s),
        "e2e": (result.e2e_s, slo.e2e_s),
    }
    return tuple(
        name
        for name, (value, limit) in felt.items()
        if value is not None and limit is not None and value > limit
    )


def goodput(
    slo: Slo, results: Sequence[RequestResult], *, planned: int, duration_s: float
) -> Goodput:
    """Count the good requests of a run that lasted `duration_s` seconds."""
    missed: dict[str, int] = {}
    good = []
    for result in results:
        names = misses(slo, result)
        for name in names:
            missed[name] = missed.get(name, 0) + 1
        if not names:
            good.append(result)
    per_s = 1.0 / duration_s if duration_s > 0 else 0.0
    return Goodput(
        slo=slo,
        good=len(good),
        share=len(good) / planned if planned else 0.0,
        per_s=len(good) * per_s,
        output_tokens_per_s=sum(result.output_tokens for result in good) * per_s,
        missed=dict(sorted(missed.items())),
    )
