"""A trend is a rise that lasts: steps and noise are none."""

import math

from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.scaling.forecast import MAX_GROWTH, forecast, slope

VALUES = st.lists(st.floats(0, 1e6, allow_nan=False), max_size=40)


def points(values, step_s=15.0):
    return [(index * step_s, value) for index, value in enumerate(values)]


def test_a_steady_rise_is_found_and_carried_on():
    ramp = points([10.0 + 1.5 * index for index in range(20)])
    assert 0.08 < slope(ramp) <= 0.1  # per second; less one standard error
    assert 38.5 + 0.08 * 120 < forecast(ramp, 38.5, 120.0) <= 38.5 + 0.1 * 120


def test_a_step_is_no_trend():
    assert slope(points([10.0] * 16 + [90.0] * 4)) == 0.0
    assert slope(points([10.0] * 4 + [90.0] * 16)) == 0.0


def test_a_fall_is_no_trend():
    assert slope(points([100.0 - index for index in range(20)])) == 0.0


def test_noise_around_a_level_shows_next_to_no_trend():
    wave = points([50.0 + 10.0 * math.sin(2.4 * index) for index in range(20)])
    assert forecast(wave, 50.0, 120.0) < 55.0


def test_few_points_show_nothing():
    assert slope(points([1.0, 2.0, 3.0, 4.0, 5.0])) == 0.0


def test_points_of_one_moment_show_nothing():
    assert slope([(5.0, float(value)) for value in range(9)]) == 0.0


@given(values=VALUES, level=st.floats(0, 1e6), horizon_s=st.floats(0, 1e4))
def test_a_forecast_is_never_below_the_level_nor_above_its_multiple(values, level, horizon_s):
    assert level <= forecast(points(values), level, horizon_s) <= MAX_GROWTH * level


@given(values=VALUES, more=st.floats(0, 1e3))
def test_a_constant_more_changes_no_trend(values, more):
    raised = slope(points([value + more for value in values]))
    assert math.isclose(raised, slope(points(values)), rel_tol=1e-6, abs_tol=1e-3)
