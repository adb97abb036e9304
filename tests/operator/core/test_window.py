import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.window import Histogram, Window

BOUNDS = (0.1, 0.2, 0.4)
histograms = st.builds(Histogram, st.just(BOUNDS), st.tuples(*[st.integers(0, 50)] * 4))


@pytest.mark.parametrize(
    ("bounds", "counts"),
    [((1.0,), (1,)), ((2.0, 1.0), (0, 0, 0)), ((1.0, 1.0), (0, 0, 0)), ((1.0,), (-1, 0))],
)
def test_what_is_no_histogram_is_refused(bounds, counts):
    with pytest.raises(ValueError, match=r"bounds|bucket"):
        Histogram(bounds, counts)


def test_a_quantile_lies_on_the_line_between_bounds():
    histogram = Histogram(BOUNDS, (10, 0, 10, 0))
    assert histogram.quantile(0.25) == pytest.approx(0.05)
    assert histogram.quantile(0.5) == pytest.approx(0.1)
    assert histogram.quantile(0.75) == pytest.approx(0.3)
    assert histogram.quantile(1.0) == pytest.approx(0.4)
    assert Histogram().quantile(0.5) == 0.0


def test_above_the_last_bound_nothing_is_known():
    assert Histogram(BOUNDS, (1, 0, 0, 9)).quantile(0.5) == float("inf")


def test_empty_buckets_in_front_hold_no_quantile():
    assert Histogram(BOUNDS, (0, 0, 5, 0)).quantile(0.0) == pytest.approx(0.2)


@given(histograms, st.lists(st.floats(0, 1), min_size=2, max_size=2))
def test_quantiles_rise_and_lie_in_their_bucket(histogram, shares):
    low, high = sorted(shares)
    assert histogram.quantile(low) <= histogram.quantile(high)


@given(histograms, histograms)
def test_two_sources_count_as_much_as_both(first, second):
    both = first + second
    assert both == second + first
    assert both.total == first.total + second.total
    assert (first + Histogram()).total == (Histogram() + first).total == first.total


def test_other_buckets_cannot_be_added():
    with pytest.raises(ValueError, match="buckets differ"):
        Histogram((1.0,), (1, 0)) + Histogram((2.0,), (1, 0))


def test_windows_add_up_and_what_no_engine_said_stays_unknown():
    first = Window(since=1, until=5, requests=2, output_tokens=None)
    second = Window(since=3, until=7, requests=3, output_tokens=9)
    assert first + second == Window(since=1, until=7, requests=5, output_tokens=9)
    assert (first + first).output_tokens is None
