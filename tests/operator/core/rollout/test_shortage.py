"""Why a canary waits for room: what the world says, and why nobody lends."""

from dataclasses import replace

import pytest

from operator_models import POLICY, a_fleet, a_model
from pagelet_operator.core.model import Capacity, Fleet, Strategy
from pagelet_operator.core.rollout import Decision, Observations, Phase, RolloutState, step

A, B = "chat-a", "chat-b"
STABLE = RolloutState(phase=Phase.STABLE, stable=A)
SHORT = "0/3 nodes: 3 Insufficient nvidia.com/gpu"


def waiting(needed: int | None, *, short: bool = True, state=STABLE, **policy) -> Decision:
    fleet = a_fleet({A: 2, B: 0})
    found = replace(fleet.revisions[B], short=SHORT if short else None)
    fleet = Fleet({**fleet.revisions, B: found})
    model = a_model(B, replicas=2, rollout=replace(POLICY, **policy))
    return step(state, model, fleet, 0.0, Observations(needed=needed))


@pytest.mark.parametrize(
    ("capacity", "needed", "sentence"),
    [
        (Capacity.AUTO, None, "how many replicas the live traffic needs is not known"),
        (Capacity.AUTO, 2, "live traffic needs 2 of 2 that serve"),
        (Capacity.SURGE, 0, "capacity is Surge"),
    ],
)
def test_the_worlds_words_and_the_reason_why_nobody_lends_are_said(capacity, needed, sentence):
    decision = waiting(needed, capacity=capacity)
    assert decision.reason == "WaitingForCapacity"
    assert SHORT in decision.state.message
    assert sentence in decision.state.message


def test_a_loan_that_the_traffic_does_not_allow_is_waited_for_without_any_word_of_the_world():
    decision = waiting(2, short=False, capacity=Capacity.BORROW)
    assert (decision.reason, decision.replicas) == ("WaitingForCapacity", {A: 2, B: 0})
    assert "live traffic needs 2 of 2" in decision.state.message


def test_once_a_replica_makes_room_the_canary_only_has_to_start():
    decision = waiting(1)
    assert (decision.reason, decision.replicas) == ("CanaryNotReady", {A: 1, B: 1})
    assert SHORT in decision.state.message


def test_recreate_waits_for_nobodys_loan():
    assert waiting(2, strategy=Strategy.RECREATE).reason == "CanaryNotReady"


def test_a_first_revision_has_nobody_to_wait_for():
    fleet = a_fleet({B: 0})
    fleet = Fleet({B: replace(fleet.revisions[B], short=SHORT)})
    first = step(RolloutState(), a_model(B), fleet, 0.0, Observations())
    assert first.reason == "FirstRevisionNotReady"
    assert SHORT in first.state.message
