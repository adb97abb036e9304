"""The random numbers under every load."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_bench.core.sampler import SplitMix64, inverse_normal_cdf, stream

NORMAL = statistics.NormalDist()
probabilities = st.floats(1e-15, 1.0 - 1e-15)


def test_words_are_those_of_the_published_generator():
    numbers = SplitMix64(1234567)
    assert [numbers.word() for _ in range(5)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@pytest.mark.parametrize(
    ("probability", "quantile"),
    [
        (0.5, 0.0),
        (0.975, 1.959963984540054),
        (0.99, 2.3263478740408408),
        (0.001, -3.09023230616781),
    ],
)
def test_known_quantiles_come_out(probability, quantile):
    assert inverse_normal_cdf(probability) == pytest.approx(quantile, abs=1e-12)


@given(probabilities)
def test_quantiles_agree_with_the_standard_library(probability):
    expected = NORMAL.inv_cdf(probability)
    assert inverse_normal_cdf(probability) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(probabilities, probabilities)
def test_quantiles_rise_with_the_probability(one, other):
    low, high = sorted((one, other))
    assert inverse_normal_cdf(low) <= inverse_normal_cdf(high) + 1e-12


@given(st.integers())
def test_uniform_draws_never_reach_the_ends(seed):
    numbers = SplitMix64(seed)
    assert all(0.0 < numbers.uniform() < 1.0 for _ in range(50))


@given(st.integers(), st.integers(1, 10**6))
def test_draws_below_a_bound_stay_below_it(seed, bound):
    numbers = SplitMix64(seed)
    assert all(0 <= numbers.below(bound) < bound for _ in range(50))


def test_draws_below_a_bound_reach_every_value():
    numbers = SplitMix64(1)
    assert {numbers.below(7) for _ in range(500)} == set(range(7))


def test_normal_draws_have_mean_zero_and_deviation_one():
    numbers = SplitMix64(3)
    draws = [numbers.normal() for _ in range(20_000)]
    assert abs(statistics.fmean(draws)) < 0.03
    assert abs(statistics.stdev(draws) - 1.0) < 0.03


def test_waiting_times_have_the_mean_of_their_rate_and_no_memory():
    numbers = SplitMix64(4)
    draws = [numbers.exponential(5.0) for _ in range(20_000)]
    assert statistics.fmean(draws) == pytest.approx(0.2, rel=0.03)
    assert statistics.stdev(draws) == pytest.approx(0.2, rel=0.05)
    assert sum(draw > 0.2 for draw in draws) / 20_000 == pytest.approx(math.exp(-1), abs=0.02)


@given(st.integers(0, 1000))
def test_each_seed_and_purpose_has_its_own_numbers(seed):
    assert stream(seed, "a").word() == stream(seed, "a").word()
    assert stream(seed, "a").word() != stream(seed, "b").word()
    assert stream(seed, "a").word() != stream(seed + 1, "a").word()
