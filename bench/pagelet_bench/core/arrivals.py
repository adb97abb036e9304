"""When requests arrive in an open loop: a renewal process with Gamma-distributed gaps.

`burstiness` is the shape of the gaps: 1 is a Poisson process (users who do not know of each
other), below 1 requests come in clusters with pauses between them (the coefficient of variation
is 1/sqrt(burstiness)), above 1 they come more evenly, and infinity is a metronome. Measured
services lie below 1. Source for the shape: BurstGPT, Wang et al. 2024, section 4.
"""

import math
from dataclasses import dataclass

from pagelet_bench.core.errors import UsageError
from pagelet_bench.core.sampler import SplitMix64


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """A stream of arrivals.

    Raises:
        UsageError: The rate is not above 0 and finite, or the burstiness not above 0.
    """

    rate_per_s: float
    burstiness: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what never arrives."""
        if not 0 < self.rate_per_s < math.inf:
            raise UsageError(f"rate is {self.rate_per_s}; it must be above 0 requests per second.")
        if not self.burstiness > 0:
            raise UsageError(
                f"burstiness is {self.burstiness}; it must be above 0: 1 for a Poisson process, "
                f"less for bursts, more for even spacing."
            )

    def gap_s(self, draws: SplitMix64) -> float:
        """Draw the time until the next arrival, seconds; its mean is 1 / rate."""
        if self.burstiness == 1.0:
            return draws.exponential(self.rate_per_s)
        if self.burstiness == math.inf:
            return 1.0 / self.rate_per_s
        return gamma(draws, self.burstiness) / (self.burstiness * self.rate_per_s)


def gamma(draws: SplitMix64, shape: float) -> float:
    """Draw from the Gamma distribution with `shape` > 0 and scale 1.

    Source: Marsaglia & Tsang 2000, "A simple method for generating gamma variables"; below shape
    1 their boost, gamma(shape + 1) * u^(1/shape).
    """
    if shape < 1.0:
        return gamma(draws, shape + 1.0) * math.pow(draws.uniform(), 1.0 / shape)
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        x = draws.normal()
        v = (1.0 + c * x) ** 3
        if v > 0 and math.log(draws.uniform()) < 0.5 * x * x + d - d * v + d * math.log(v):
            return d * v
