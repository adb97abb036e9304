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


def test_values_are_written_with_their_unit():
    assert shown(Metric.TTFT_P95, 0.0421) == "42.1 ms"
    assert shown(Metric.TTFT_P95, 2.5) == "2.5 s"
    assert shown(Metric.ERROR_RATE, 1.5) == "1.5 %"
    assert shown(Metric.QUEUE_DEPTH, 3.0) == "3"
