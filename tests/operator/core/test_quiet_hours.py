"""The load test of what serves is run outside of peaks, and not often."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.quiet_hours import DAY_S, HOUR_S, MIN_GAP_S, Day, due_at

NOW = 1_000_000.0
DAYS = st.lists(st.floats(0, 1e6), max_size=30).map(lambda hours: Day(tuple(hours)))


def test_a_quiet_hour_is_taken_at_once():
    assert due_at(Day((100.0,) * 23 + (20.0,)), NOW, None, NOW) == NOW


def test_a_busy_hour_waits_for_the_quietest_of_the_day_before():
    hours = [100.0] * 24
    hours[5] = 30.0  # it began 18 whole hours before this one, so it comes again in 6
    assert due_at(Day(tuple(hours)), NOW, None, NOW) == NOW + 6 * HOUR_S


@pytest.mark.parametrize("hours", [(), (100.0,) * 3])
def test_a_day_that_is_not_known_is_waited_for(hours):
    assert due_at(Day(hours), NOW, None, NOW) == NOW + DAY_S


def test_two_tests_keep_their_distance():
    quiet = Day((100.0, 0.0))
    assert due_at(quiet, NOW, NOW - HOUR_S, NOW) == NOW - HOUR_S + MIN_GAP_S


@given(DAYS, st.floats(0, 3 * DAY_S), st.none() | st.floats(0, 3 * DAY_S))
def test_it_is_run_within_a_day_and_never_often(day, waited, since_last):
    last = None if since_last is None else NOW - since_last
    at = due_at(day, NOW - waited, last, NOW)
    earliest = max(NOW, (last or 0.0) + MIN_GAP_S)
    assert earliest <= at <= max(earliest, NOW - waited + DAY_S)


@given(DAYS, st.floats(0, 1e6))
def test_a_test_that_is_a_day_overdue_waits_no_longer(day, extra):
    assert due_at(day, NOW - DAY_S - extra, None, NOW) == NOW
