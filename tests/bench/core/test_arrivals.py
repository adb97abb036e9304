"""Arrivals have the rate and the burstiness that are asked for."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_bench.core.arrivals import Arrivals, gamma
from pagelet_bench.core.errors import UsageError
from pagelet_bench.core.sampler import SplitMix64, stream


def gaps(burstiness, rate=5.0, count=6000):
    arrivals, source = Arrivals(rate_per_s=rate, burstiness=burstiness), stream(7, "arrivals")
    return [arrivals.gap_s(source) for _ in range(count)]


@pytest.mark.parametrize("burstiness", [0.25, 0.5, 1.0, 4.0, 20.0])
def test_gaps_have_the_mean_of_the_rate_and_the_spread_of_the_burstiness(burstiness):
    found = gaps(burstiness)
    assert statistics.fmean(found) == pytest.approx(0.2, rel=0.08)
    spread = statistics.pstdev(found) / statistics.fmean(found)
    assert spread == pytest.approx(1 / math.sqrt(burstiness), rel=0.08)


def test_infinite_burstiness_is_a_metronome():
    assert set(gaps(math.inf, count=5)) == {0.2}


def test_a_gamma_of_shape_one_is_an_exponential():
    source = SplitMix64(3)
    found = [gamma(source, 1.0) for _ in range(6000)]
    assert sum(value > 1.0 for value in found) / 6000 == pytest.approx(math.exp(-1), abs=0.02)


@given(st.integers(0, 2**64 - 1), st.floats(0.05, 100), st.floats(0.01, 1e4))
def test_gaps_are_never_negative_and_always_finite(seed, burstiness, rate):
    gap = Arrivals(rate_per_s=rate, burstiness=burstiness).gap_s(SplitMix64(seed))
    assert 0 <= gap < math.inf


@pytest.mark.parametrize("rate", [0.0, -1.0, math.inf, math.nan])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(UsageError, match=r"rate is .*above 0"):
        Arrivals(rate_per_s=rate)


@pytest.mark.parametrize("burstiness", [0.0, -1.0, math.nan])
def test_a_burstiness_that_is_none_is_refused(burstiness):
    with pytest.raises(UsageError, match=r"burstiness is .*above 0"):
        Arrivals(rate_per_s=1.0, burstiness=burstiness)
