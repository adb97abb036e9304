import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.planner.errors import PlanError
from pagelet_operator.core.planner.mix import Mix, of_histogram, of_percentiles, of_values
from pagelet_operator.core.window import Histogram
from planner_cases import mixes

values = st.lists(st.integers(1, 10_000), min_size=1, max_size=50)


def test_lognormal_percentiles_give_back_its_mean():
    mu, sigma = 4.8, 0.9
    three = (math.exp(mu + z * sigma) for z in (0, 1.6448536, 2.3263479))
    found = of_percentiles(*three, "x")
    exact = math.exp(mu + sigma**2 / 2)
    assert found.mean == pytest.approx(exact, rel=0.03)  # what lies above p99 counts as p99


@given(mixes())
def test_moments_are_those_of_some_lengths(mix):
    for found in (mix.prompts, mix.outputs):
        assert 1 - 1e-9 <= found.mean <= found.p99 * (1 + 1e-9)
        assert found.mean_square >= found.mean**2 * (1 - 1e-9)
    assert mix.held_tokens > mix.prompts.mean + mix.outputs.mean / 2 - 1e-6


@given(values)
def test_recorded_lengths_are_counted_exactly(found):
    lengths = of_values(found)
    assert lengths.mean == pytest.approx(sum(found) / len(found))
    assert lengths.p50 <= lengths.p95 <= lengths.p99 <= max(found)
    assert sum(value <= lengths.p95 for value in found) >= 0.95 * len(found) - 1e-9


@given(values)
def test_a_histogram_knows_as_much_as_its_buckets_are_wide(found):
    bounds = tuple(2.0**power for power in range(15))
    counts = [0] * 16
    for value in found:
        counts[sum(bound < value for bound in bounds)] += 1
    lengths = of_histogram(Histogram(bounds, tuple(counts)), "x")
    mean = sum(found) / len(found)
    assert 0.5 * mean - 1 <= lengths.mean <= 2 * mean + 1
    assert lengths.p50 <= lengths.p95 <= lengths.p99 < math.inf


def test_what_a_histogram_does_not_bound_counts_as_twice_its_last_bound():
    lengths = of_histogram(Histogram((8.0, 16.0), (0, 0, 4)), "x")
    assert (lengths.mean, lengths.p99) == (24, 32)


def test_a_random_step_meets_long_outputs_more_often():
    draw = random.Random(7)
    prompts, outputs = [100] * 400, [draw.choice([1, 399]) for _ in range(400)]
    mix = Mix(prompts=of_values(prompts), outputs=of_values(outputs), source="x")
    held = [100 + step for length in outputs for step in range(length)]
    assert mix.held_tokens == pytest.approx(sum(held) / len(held), abs=1)


@pytest.mark.parametrize("three", [(0, 1, 2), (5, 4, 6), (1, 2, 1), (1, 2, math.inf)])
def test_percentiles_that_fall_are_refused_by_name(three):
    with pytest.raises(PlanError, match=r"--prompt-tokens is .* none below the one before"):
        of_percentiles(*three, "--prompt-tokens")


def test_nothing_has_no_lengths():
    with pytest.raises(PlanError, match="--trace holds no request"):
        of_values([])
    with pytest.raises(PlanError, match="--lengths-from x has no finished request"):
        of_histogram(Histogram((8.0,), (0, 0)), "--lengths-from x")


def test_inside_a_bucket_lengths_are_spread_evenly():
    lengths = of_histogram(Histogram((10.0, 20.0), (0, 3, 0)), "x")
    assert lengths.mean == 15
    assert lengths.mean_square == pytest.approx((20**3 - 10**3) / (3 * 10))
