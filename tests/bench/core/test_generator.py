"""The generator doubts itself when it lagged, and only then."""

from hypothesis import given
from hypothesis import strategies as st

from pagelet_bench.core.generator import HIGH_LAG_S, HIGH_LATE_S, observed, remarks


@given(st.lists(st.floats(0, 10), max_size=200))
def test_lags_are_ordered_and_doubted_by_their_p99(lags):
    found = observed(lags, cpu_s=1.0, duration_s=4.0)
    assert 0 <= found.lag_p50_s <= found.lag_p99_s <= found.lag_max_s
    assert found.is_doubtful == (found.lag_p99_s > HIGH_LAG_S)
    assert found.cpu_share == 0.25


def test_one_lag_of_two_hundred_is_no_doubt():
    found = observed([0.0] * 199 + [0.5], cpu_s=0.1, duration_s=2.0)
    assert remarks(found, 0.0) == []
    assert found.lag_max_s == 0.5


def test_a_lag_and_a_late_request_are_said_with_their_size():
    found = observed([0.025] * 10, cpu_s=2.0, duration_s=2.0)
    late, lag = remarks(found, 2 * HIGH_LATE_S)
    assert "left 0.20 s after its due time" in late
    assert "25.0 ms" in lag
    assert "1.00 cores" in lag


def test_a_run_without_a_sample_has_no_lag():
    found = observed([], cpu_s=0.0, duration_s=0.0)
    assert (found.lag_max_s, found.cpu_share) == (0.0, 0.0)
