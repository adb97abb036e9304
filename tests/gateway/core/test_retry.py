import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.retry import BREAKING, Failure, RetryBudget, may_retry
from pagelet_gateway.core.route_table import BreakerPolicy


@given(st.lists(st.booleans(), max_size=400))
def test_of_any_fifty_requests_or_more_at_most_a_fifth_is_made_again(history):
    """However the failures lie, and however slowly requests come: time earns nothing."""
    budget = RetryBudget()
    requests, retries = [0], [0]
    for fails in history:
        budget.deposit()
        requests.append(requests[-1] + 1)
        retries.append(retries[-1] + (fails and budget.withdraw()))
    for start in range(len(requests)):
        for end in range(start + 50, len(requests)):
            assert retries[end] - retries[start] <= 0.2 * (end - start) + 1e-6


@given(st.lists(st.booleans(), max_size=300))
def test_retries_stay_under_the_burst_and_a_share(history):
    budget, requests, retries = RetryBudget(), 0, 0
    for is_request in history:
        if is_request:
            budget.deposit()
            requests += 1
        else:
            retries += budget.withdraw()
        assert retries <= 5 + 0.1 * requests + 1e-6


def test_an_outage_gets_a_tenth_and_the_burst():
    budget = RetryBudget()
    granted = 0
    for _ in range(1000):
        budget.deposit()
        granted += budget.withdraw()
    assert 104 <= granted <= 105


def test_one_broken_endpoint_costs_no_request_before_its_circuit_opens():
    budget = RetryBudget()
    assert all(budget.withdraw() for _ in range(BreakerPolicy().consecutive_errors))
    assert not budget.withdraw()


@given(st.integers(0, 60))
def test_ten_requests_earn_a_retry_back(num_failed):
    budget = RetryBudget()
    for _ in range(num_failed):
        budget.deposit()
        budget.withdraw()
    for _ in range(10):
        budget.deposit()
    assert budget.has_left()
    assert budget.withdraw()


@pytest.mark.parametrize("failure", list(Failure))
def test_attempts_are_bounded_whatever_failed(failure):
    assert not may_retry(failure, attempts=3, max_attempts=3, budget=RetryBudget())


@pytest.mark.parametrize(
    ("failure", "allowed"),
    [
        (Failure.REFUSED, True),
        (Failure.UNREACHABLE, True),
        (Failure.DRAINING, True),
        (Failure.RESET, False),
        (Failure.PROTOCOL, False),
        (Failure.BUSY, False),
        (Failure.ERROR, False),
        (Failure.SLOW, True),  # paid for when it was given up
    ],
)
def test_without_budget_only_what_is_free_or_paid_for_is_tried_again(failure, allowed):
    spent = RetryBudget(_balance=0.0)
    assert may_retry(failure, attempts=1, max_attempts=3, budget=spent) is allowed


def test_an_engine_that_is_busy_drains_or_restarts_is_not_called_broken():
    assert set(Failure) - BREAKING == {Failure.BUSY, Failure.DRAINING, Failure.REFUSED}
