"""Deterministic random numbers: the same seed gives the same load on every machine.

Not for cryptography. Each kind of number draws from a stream of its own, named by a string, so
that asking for more requests or another vocabulary changes nothing drawn for another purpose.
"""

import hashlib
import math

_MASK = (1 << 64) - 1


class SplitMix64:
    """A 64-bit generator with one word of state.

    Source: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators".
    """

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def word(self) -> int:
        """Draw an integer in [0, 2**64)."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def uniform(self) -> float:
        """Draw a float in (0, 1); both ends are excluded, so its logarithm is finite."""
        return ((self.word() >> 12) + 0.5) * 2.0**-52

    def below(self, bound: int) -> int:
        """Draw an integer in [0, bound); the bias is below bound / 2**64."""
        return (self.word() * bound) >> 64

    def normal(self) -> float:
        """Draw from the standard normal distribution; uses exactly one word."""
        return inverse_normal_cdf(self.uniform())

    def exponential(self, rate: float) -> float:
        """Draw a waiting time of a Poisson process with `rate` events per unit of time."""
        return -math.log(self.uniform()) / rate


def stream(seed: int, purpose: str) -> SplitMix64:
    """Open the stream of numbers that `seed` holds for one purpose."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return SplitMix64(int.from_bytes(digest[:8], "big"))


def inverse_normal_cdf(probability: float) -> float:
    """Return x with P(X <= x) = `probability`, for 0 < probability < 1 and standard normal X.

    A rational start (error 4.5e-4) and two Halley steps, each of which cubes the error: what
    remains is rounding. Source: Abramowitz & Stegun 1964, 26.2.23.
    """
    if probability > 0.5:
        return -inverse_normal_cdf(1.0 - probability)
    t = math.sqrt(-2.0 * math.log(probability))
    numerator = 2.515517 + t * (0.802853 + t * 0.010328)
    denominator = 1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308))
    x = numerator / denominator - t
    for _ in range(2):
        excess = 0.5 * math.erfc(-x / math.sqrt(2.0)) - probability
        newton = excess * math.sqrt(2.0 * math.pi) * math.exp(x * x / 2.0)
        x -= newton / (1.0 + x * newton / 2.0)
    return x
