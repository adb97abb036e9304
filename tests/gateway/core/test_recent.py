import bisect
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.recent import INTERVAL_S, WINDOW_S, RecentCounts, quantile

BOUNDS = (0.1, 0.5, 1.0)
buckets = st.lists(st.integers(0, 5), min_size=4, max_size=4).map(tuple)
KEY = ("ttft", ("m", "m-1"))


def test_a_key_that_was_never_read_is_told_whole():
    assert RecentCounts().since(KEY, (1, 2, 3, 4), 100.0) == (1, 2, 3, 4)


def test_what_came_before_the_first_reading_counts():
    recent = RecentCounts()
    recent.read(KEY, (2, 0, 0, 0), 100.0)
    assert recent.since(KEY, (3, 0, 0, 0), 101.0) == (3, 0, 0, 0)


@given(st.lists(buckets, min_size=1, max_size=30), st.floats(0, INTERVAL_S))
def test_the_window_holds_what_the_last_minute_gathered(gathered, later):
    recent, total, totals = RecentCounts(), (0, 0, 0, 0), [(0, 0, 0, 0)]
    for turn, new in enumerate(gathered, start=1):
        total = tuple(a + b for a, b in zip(total, new, strict=True))
        totals.append(total)
        recent.read(KEY, total, INTERVAL_S * turn)
    now = INTERVAL_S * len(gathered) + later
    found = recent.since(KEY, total, now)
    # The readings were at 0, 10, 20 ...: the first one inside the window is where it begins.
    at = [INTERVAL_S * turn for turn in range(len(totals))]
    begin = totals[bisect.bisect_left(at, now - WINDOW_S)]
    assert found == tuple(a - b for a, b in zip(total, begin, strict=True))


@given(buckets, buckets)
def test_a_series_that_began_again_is_never_negative(before, after):
    recent = RecentCounts()
    recent.read(KEY, before, 0.0)
    recent.read(KEY, before, INTERVAL_S)
    assert all(count >= 0 for count in recent.since(KEY, after, INTERVAL_S + 1))


def test_after_a_minute_without_readings_the_last_one_is_where_the_window_begins():
    recent = RecentCounts()
    recent.read(KEY, (5, 0, 0, 0), 0.0)
    assert recent.since(KEY, (6, 0, 0, 0), 1000.0) == (1, 0, 0, 0)


def test_what_is_not_kept_is_forgotten():
    recent = RecentCounts()
    recent.read(KEY, (5, 0, 0, 0), 0.0)
    recent.keep_only(set())
    assert recent.since(KEY, (6, 0, 0, 0), 1.0) == (6, 0, 0, 0)


@pytest.mark.parametrize(
    ("counts", "ratio", "expected"),
    [
        ((0, 0, 0, 0), 0.99, None),
        ((10, 0, 0, 0), 0.5, 0.05),
        ((0, 10, 0, 0), 1.0, 0.5),
        ((5, 5, 0, 0), 0.75, 0.3),
        ((0, 0, 0, 3), 0.99, 1.0),
    ],
)
def test_a_quantile_lies_where_its_bucket_says(counts, ratio, expected):
    found = quantile(BOUNDS, counts, ratio)
    assert found == (None if expected is None else pytest.approx(expected))


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=50), st.floats(0.01, 1.0))
def test_a_quantile_is_off_by_one_bucket_at_most(values, ratio):
    counts = [0] * 4
    for value in values:
        counts[bisect.bisect_left(BOUNDS, value)] += 1
    exact = sorted(values)[max(0, math.ceil(ratio * len(values)) - 1)]
    bucket = bisect.bisect_left(BOUNDS, exact)
    low = BOUNDS[bucket - 1] if bucket else 0.0
    assert low <= quantile(BOUNDS, tuple(counts), ratio) <= BOUNDS[bucket] + 1e-9
