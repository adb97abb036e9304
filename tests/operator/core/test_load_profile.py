"""A load test's figures beside the stable revision's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.gates import GateStatus
from pagelet_operator.core.load_profile import NOISE_S, judge, tolerance

ALLOWED = tolerance(
    {"maxIncreasePercent": 25.0, "maxDecreasePercent": 20.0, "maxErrorPercent": 1.0}
)
STABLE = {
    "requests": 48.0, "gaps": 4000.0, "ttftP50": 0.2, "ttftP95": 0.8, "ttftP99": 1.0,
    "itlP50": 0.03, "itlP95": 0.05, "itlP99": 0.08, "outputTokensPerSecond": 100.0,
}  # fmt: skip


@pytest.mark.parametrize("name", ["ttftP50", "ttftP95", "itlP50", "itlP95", "itlP99"])
def test_each_latency_is_held_to_stables(name):
    worse = judge(STABLE | {name: STABLE[name] * 1.3}, STABLE, ALLOWED)
    assert worse.status is GateStatus.FAILED
    assert worse.message.startswith(name)
    assert judge(STABLE | {name: STABLE[name] * 1.2}, STABLE, ALLOWED).status is GateStatus.PASSED


def test_a_percentile_that_is_only_the_largest_of_few_is_left_out():
    assert judge(STABLE | {"ttftP99": 9.0}, STABLE, ALLOWED).status is GateStatus.PASSED
    many = STABLE | {"requests": 400.0}
    assert judge(many | {"ttftP99": 9.0}, many, ALLOWED).status is GateStatus.FAILED


def test_a_scheduler_s_time_slice_is_no_difference():
    fast = STABLE | {"itlP50": 0.0010}
    assert judge(fast | {"itlP50": 0.0025}, fast, ALLOWED).status is GateStatus.PASSED
    assert NOISE_S == 0.002


def test_less_speed_and_more_errors_fail():
    slow = judge(STABLE | {"outputTokensPerSecond": 79.0}, STABLE, ALLOWED)
    assert "79 output tokens/s, stable's 100, at least 80" in slow.message
    assert slow.status is GateStatus.FAILED
    failing = judge(STABLE | {"errorRate": 0.6, "timeoutRate": 0.6}, None, ALLOWED)
    assert failing.status is GateStatus.FAILED


def test_without_a_profile_of_stable_only_failures_count_and_the_result_says_so():
    result = judge(STABLE, None, ALLOWED)
    assert result.status is GateStatus.PASSED
    assert "no profile of stable to compare with" in result.message


def test_nothing_measured_is_no_verdict():
    assert judge({}, STABLE, ALLOWED).status is GateStatus.ERROR


@given(st.floats(0.001, 10), st.floats(1.0, 5.0))
def test_a_slower_canary_never_looks_better(itl, factor):
    before = judge(STABLE | {"itlP95": itl}, STABLE, ALLOWED).status
    after = judge(STABLE | {"itlP95": itl * factor}, STABLE, ALLOWED).status
    assert (before, after) != (GateStatus.FAILED, GateStatus.PASSED)
