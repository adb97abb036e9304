"""Finds the rate at which an SLO breaks: doubling until it does, then halving the interval.

`advance` is told all trials so far and says what to try next, so a search can be looked at, and
interrupted, at any point. Each rate is tried until one verdict has the majority of `repeats`:
near the limit one trial is a coin toss. Rates are bisected by their logarithm, so that the
precision is a share of the answer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pagelet_bench.core.errors import UsageError

LOWEST_SHARE = 1.0 / 64.0
"""The search gives up below this share of the rate it began with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What to search.

    Attributes:
        start_per_s: Rate of the first trial, requests per second.
        most_per_s: Highest rate to try.
        precision: The answer's interval is at most this share of the rate wide.
        repeats: Trials of one rate at most; odd, so that there is a majority.

    Raises:
        UsageError: A value cannot be searched with; the message names it.
    """

    start_per_s: float
    most_per_s: float = 10_000.0
    precision: float = 0.1
    repeats: int = 3

    def __post_init__(self) -> None:
        """Refuse what would never end, or never begin."""
        if not 0 < self.start_per_s < math.inf:
            raise UsageError(f"rate is {self.start_per_s}; the search begins above 0 per second.")
        if not self.start_per_s <= self.most_per_s < math.inf:
            raise UsageError(
                f"max-rate is {self.most_per_s}, below the rate {self.start_per_s} that the "
                f"search begins with; raise it."
            )
        if not 0.01 <= self.precision <= 1:
            raise UsageError(f"ramp-precision is {self.precision}; it must be in 0.01 to 1.")
        if self.repeats < 1 or self.repeats % 2 == 0:
            raise UsageError(f"ramp-repeats is {self.repeats}; it must be odd and at least 1.")


@dataclass(frozen=True, slots=True)
class Trial:
    """One run at one rate, and whether it kept the SLO."""

    rate_per_s: float
    holds: bool


@dataclass(frozen=True, slots=True)
class Next:
    """Try this rate; `attempt` counts its trials from 0."""

    rate_per_s: float
    attempt: int


@dataclass(frozen=True, slots=True)
class Found:
    """The end of a search.

    Attributes:
        holds_per_s: Highest rate that kept the SLO; None if none did.
        breaks_per_s: Lowest rate that did not; None if all did.
    """

    holds_per_s: float | None
    breaks_per_s: float | None

    @property
    def sentence(self) -> str:
        """Say it to a person."""
        if self.holds_per_s is None:
            return f"the SLO is missed even at {self.breaks_per_s:.3g} requests/s"
        if self.breaks_per_s is None:
            return f"the SLO holds at {self.holds_per_s:.3g} requests/s, the highest rate tried"
        return (
            f"the SLO holds at {self.holds_per_s:.3g} requests/s and breaks at "
            f"{self.breaks_per_s:.3g}"
        )


def advance(search: Search, trials: Sequence[Trial]) -> Next | Found:
    """Decide what to try next. Pure: the same trials give the same step.

    Guarantees: while trials at one rate agree with those at others (what holds at a rate holds at
    every lower one), `holds_per_s` <= limit < `breaks_per_s`; whatever they say, the search ends.
    """
    holds, breaks = None, None
    rate = search.start_per_s
    while True:
        verdict, tried = _verdict(search, trials, rate)
        if verdict is None:
            return Next(rate, tried)
        holds, breaks = (rate, breaks) if verdict else (holds, rate)
        following = _following(search, holds, breaks)
        if following is None:
            return Found(holds, breaks)
        rate = following


def _verdict(search: Search, trials: Sequence[Trial], rate: float) -> tuple[bool | None, int]:
    """Return what the majority of a rate's trials says, None while there is none, and how many."""
    said = [trial.holds for trial in trials if trial.rate_per_s == rate]
    majority = search.repeats // 2 + 1
    if said.count(True) >= majority:
        return True, len(said)
    if said.count(False) >= majority:
        return False, len(said)
    return None, len(said)


def _following(search: Search, holds: float | None, breaks: float | None) -> float | None:
    """Return the next rate, or None at the end of the search."""
    if breaks is None:
        assert holds is not None, "one of the two is known after a verdict"
        return None if holds >= search.most_per_s else min(2.0 * holds, search.most_per_s)
    if holds is None:
        lowest = search.start_per_s * LOWEST_SHARE
        return None if breaks <= lowest else max(breaks / 2.0, lowest)
    return None if breaks <= holds * (1.0 + search.precision) else math.sqrt(holds * breaks)
