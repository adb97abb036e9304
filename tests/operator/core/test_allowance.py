import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.allowance import (
    QUEUE_SLACK,
    RATE_MARGIN,
    absolute,
    harm,
    moments,
    relative,
)
from pagelet_operator.core.measure import Estimate, Metric

LONG_S = 1e9


def of(metric: Metric, value: float, change: float, span_s: float = LONG_S) -> tuple[float, float]:
    limit = relative(metric, change, Estimate(value, value, value), span_s)
    assert limit.to_fail is not None
    return limit.to_fail, limit.to_pass


def test_a_latency_may_grow_by_percent():
    assert of(Metric.ITL_P95, 0.1, 20.0) == pytest.approx((0.12, 0.12), rel=1e-3)


def test_a_rate_may_grow_by_points_and_passes_with_a_margin():
    assert of(Metric.ERROR_RATE, 0.0, 1.0) == (1.0, 1.0 + RATE_MARGIN)
    limit = absolute(Metric.ERROR_RATE, 1.0)
    assert (limit.to_fail, limit.to_pass) == (1.0, 1.0 + RATE_MARGIN)


def test_a_queue_may_always_hold_one_more():
    assert of(Metric.QUEUE_DEPTH, 0.0, 50.0) == (QUEUE_SLACK, QUEUE_SLACK)


def test_fewer_tokens_per_second_are_the_harm():
    fails_above, _ = of(Metric.TOKENS_PER_SECOND, 100.0, 20.0)
    assert harm(Metric.TOKENS_PER_SECOND, Estimate(79.0, 79.0, 79.0)).low > fails_above
    assert harm(Metric.TOKENS_PER_SECOND, Estimate(81.0, 81.0, 81.0)).low < fails_above
    at_least_50 = absolute(Metric.TOKENS_PER_SECOND, 50.0)
    assert harm(Metric.TOKENS_PER_SECOND, Estimate(49.0, 49.0, 49.0)).low > at_least_50.to_fail


def test_without_an_upper_bound_of_stable_nothing_fails():
    assert relative(Metric.ITL_P99, 20.0, Estimate(0.1, 0.05, None), 60.0).to_fail is None


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_the_longer_a_window_the_less_is_left_to_the_moment(first, second):
    short, long = sorted((first, second))
    assert 1.0 <= moments(long) <= moments(short) < 1.5
