"""What one run of a load, or a search for a rate, leaves behind."""

from collections.abc import Sequence
from dataclasses import dataclass

from pagelet_bench.core.generator import Generator
from pagelet_bench.core.goodput import Goodput
from pagelet_bench.core.ramp import Found
from pagelet_bench.core.report import Report
from pagelet_bench.core.result import RequestResult
from pagelet_bench.core.workload import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One finished, ended or interrupted run.

    Attributes:
        goodput: None without an SLO.
        was_interrupted: By a person; what had finished until then is here.
    """

    profile: Profile
    report: Report
    results: Sequence[RequestResult]
    generator: Generator
    goodput: Goodput | None = None
    was_interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Ramp:
    """A search for the rate at which an SLO breaks.

    Attributes:
        found: None if a person ended it.
        trials: In the order they were run; each has a rate and a goodput.
    """

    found: Found | None
    trials: tuple[Measured, ...]

    @property
    def best(self) -> Measured:
        """The trial to show: the last one at the highest rate that held, else the last of all.

        Trials of one rate are told apart by their seeds alone, so any of them stands for it.
        """
        held = None if self.found is None else self.found.holds_per_s
        fitting = [t for t in self.trials if t.profile.rate_per_s == held and holds(t)]
        return (fitting or list(self.trials))[-1]


def most_share(trial: Measured) -> float:
    """Return the share of good requests; of a trial that was ended early the most it could be."""
    if trial.goodput is None or not trial.report.planned:
        return 0.0
    return 1.0 - (len(trial.results) - trial.goodput.good) / trial.report.planned


def holds(trial: Measured) -> bool:
    """Return whether a trial kept its SLO."""
    return trial.goodput is not None and trial.goodput.is_met
