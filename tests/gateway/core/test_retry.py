import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.retry import BREAKING, Failure, RetryBudget, may_retry


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 5)), max_size=200))
def test_retries_stay_under_a_share_of_requests_plus_the_floor(history):
    budget, now, requests, retries = RetryBudget(), 0.0, 0, 0
    budget.deposit(now)
    for is_request, pause_s in history:
        now += pause_s
        if is_request:
            budget.deposit(now)
            requests += 1
        else:
            retries += budget.withdraw(now)
        assert retries <= 10 + 0.2 * (requests + 1) + 1.0 * now + 1e-6


def test_an_outage_without_a_floor_gets_a_fifth():
    budget = RetryBudget(floor_per_s=0.0, _balance=0.0)
    granted = 0
    for _ in range(1000):
        budget.deposit(1.0)
        granted += budget.withdraw(1.0)
    assert 199 <= granted <= 200


def test_a_quiet_service_may_retry():
    budget = RetryBudget()
    assert budget.has_left(0.0)
    assert all(budget.withdraw(0.0) for _ in range(10))
    assert not budget.withdraw(0.0)
    assert not budget.has_left(0.9)
    assert budget.withdraw(1.0)


def test_a_clock_that_stands_still_or_jumps_back_earns_nothing():
    budget = RetryBudget(_balance=0.5)
    assert not budget.withdraw(5.0)
    assert not budget.withdraw(4.0)


@pytest.mark.parametrize("failure", list(Failure))
def test_attempts_are_bounded_whatever_failed(failure):
    assert not may_retry(failure, attempts=3, max_attempts=3, budget=RetryBudget(), now=0.0)


@pytest.mark.parametrize(
    ("failure", "allowed"),
    [
        (Failure.REFUSED, True),
        (Failure.DRAINING, True),
        (Failure.RESET, False),
        (Failure.PROTOCOL, False),
        (Failure.BUSY, False),
        (Failure.ERROR, False),
        (Failure.SLOW, False),
    ],
)
def test_without_budget_only_what_cost_no_work_is_tried_again(failure, allowed):
    spent = RetryBudget(_balance=0.0)
    assert may_retry(failure, attempts=1, max_attempts=3, budget=spent, now=0.0) is allowed


def test_an_engine_that_is_busy_or_drains_is_not_called_broken():
    assert set(Failure) - BREAKING == {Failure.BUSY, Failure.DRAINING}
