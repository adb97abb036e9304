from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.measure import (
    MIN_QUEUE_SAMPLES,
    QUANTILES,
    RATES,
    Metric,
    estimate,
    independent,
    shown,
)
from pagelet_operator.core.window import Histogram, Window

BOUNDS = (0.01, 0.02, 0.04, 0.08)


def window(**fields: object) -> Window:
    return Window(since=0.0, until=60.0, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("metric", Metric)
def test_nothing_counted_says_nothing(metric):
    assert estimate(metric, window(), low_risk=0.1, high_risk=0.1) is None


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        (Metric.ERROR_RATE, 3.0),
        (Metric.REFUSAL_RATE, 4.0),
        (Metric.TIMEOUT_RATE, 5.0),
        (Metric.FALLBACK_RATE, 20.0),
        (Metric.ABANDON_RATE, 60.0),
        (Metric.QUEUE_DEPTH, 2.5),
        (Metric.TOKENS_PER_SECOND, 40.0),
    ],
)
def test_every_figure_is_of_its_own_whole(metric, value):
    seen = window(
        requests=100, errors=3, refusals=4, timeouts=5, fallbacks=25, abandoned=150,
        queue_samples=10, queue_sum=25.0, output_tokens=800, request_seconds=20.0,
    )  # fmt: skip
    assert estimate(metric, seen, low_risk=0.1, high_risk=0.1).value == pytest.approx(value)


def test_a_queue_read_too_seldom_says_nothing():
    few = window(queue_samples=MIN_QUEUE_SAMPLES - 1, queue_sum=9.0)
    assert estimate(Metric.QUEUE_DEPTH, few, low_risk=0.1, high_risk=0.1) is None


def test_gaps_of_one_request_count_as_few():
    one = window(ttft=Histogram(BOUNDS, (1, 0, 0, 0, 0)), itl=Histogram(BOUNDS, (0, 1000, 0, 0, 0)))
    assert 15 < independent(Metric.ITL_P50, one) < 25
    many = window(
        ttft=Histogram(BOUNDS, (1000, 0, 0, 0, 0)), itl=Histogram(BOUNDS, (0, 1000, 0, 0, 0))
    )
    assert independent(Metric.ITL_P50, many) == 1000
    assert independent(Metric.TTFT_P50, many) == 500


@given(st.tuples(*[st.integers(0, 300)] * 5), st.sampled_from(sorted(QUANTILES)))
def test_bounds_hold_the_value(counts, metric):
    histogram = Histogram(BOUNDS, counts)
    found = estimate(metric, window(ttft=histogram, itl=histogram), low_risk=0.01, high_risk=0.1)
    if found is not None:
        assert found.low <= found.value
        assert found.high is None or found.value <= found.high


@given(st.integers(1, 500), st.data(), st.sampled_from(sorted(RATES)))
def test_rates_lie_between_0_and_100_percent(requests, data, metric):
    hits = data.draw(st.integers(0, requests))
    seen = window(
        requests=requests, errors=hits, refusals=hits, timeouts=hits, fallbacks=hits, abandoned=hits
    )
    found = estimate(metric, seen, low_risk=0.01, high_risk=0.1)
    assert 0 <= found.low <= found.value <= found.high <= 100


filled = st.tuples(*[st.integers(0, 40)] * (len(BOUNDS) + 1)).map(
    lambda counts: Histogram(BOUNDS, counts)
)
TTFTS = [metric for metric in QUANTILES if metric.startswith("ttft")]
NOBODY = Histogram(BOUNDS, (0,) * (len(BOUNDS) + 1))


@given(filled, filled, st.sampled_from(TTFTS))
def test_who_waits_never_makes_a_ttft_seem_better_or_surer(ended, held, metric):
    without = estimate(metric, window(ttft=ended), low_risk=0.05, high_risk=0.1)
    found = estimate(metric, window(ttft=ended, waiting=held), low_risk=0.05, high_risk=0.1)
    if without is None:
        assert found is None or found.high is None
        return
    assert found is not None
    assert found.value >= without.value
    assert found.low >= without.low
    assert (found.high is None) == (without.high is None)
    assert found.high is None or found.high >= without.high


@pytest.mark.parametrize("metric", [metric for metric in Metric if metric not in TTFTS])
def test_who_waits_says_nothing_of_any_other_metric(metric):
    held = Histogram(BOUNDS, (5, 9, 5, 3, 1))
    gaps = Histogram(BOUNDS, tuple(20 * count for count in held.counts))
    counted = window(requests=9, ttft=held, itl=gaps, queue_samples=9, output_tokens=3)
    waits = replace(counted, waiting=held)
    risks = {"low_risk": 0.1, "high_risk": 0.1}
    assert estimate(metric, counted, **risks) == estimate(metric, waits, **risks)


def test_those_that_wait_longer_than_any_has_taken_raise_the_median():
    ended = Histogram(BOUNDS, (40, 0, 0, 0, 0))
    held = Histogram(BOUNDS, (0, 0, 0, 0, 60))
    found = estimate(Metric.TTFT_P50, window(ttft=ended, waiting=held), low_risk=0.1, high_risk=0.1)
    assert found.value == float("inf")


def test_where_nothing_has_ended_waits_bound_a_ttft_from_below_alone():
    held = Histogram(BOUNDS, (0, 90, 0, 0, 0))
    found = estimate(Metric.TTFT_P50, window(waiting=held), low_risk=0.1, high_risk=0.1)
    assert found.low > BOUNDS[0]
    assert found.high is None


def test_waits_in_other_buckets_are_left_out():
    seen = window(ttft=Histogram(BOUNDS, (9, 0, 0, 0, 0)), waiting=Histogram((1.0,), (0, 90)))
    assert seen.ttft_so_far == seen.ttft
    assert estimate(Metric.TTFT_P50, seen, low_risk=0.1, high_risk=0.1).value <= 0.01


def test_values_are_written_with_their_unit():
    assert shown(Metric.TTFT_P95, 0.0421) == "42.1 ms"
    assert shown(Metric.TTFT_P95, 2.5) == "2.5 s"
    assert shown(Metric.ERROR_RATE, 1.5) == "1.5 %"
    assert shown(Metric.QUEUE_DEPTH, 3.0) == "3"
