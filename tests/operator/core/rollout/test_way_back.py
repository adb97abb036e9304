"""The way back: stable is given what its ready replicas carry, the dropped canary keeps the rest.

Four replicas of which the traffic needs three, two lent; or the only replica lent.
"""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_models import POLICY, a_fleet, a_model
from pagelet_operator.api.memory import rollout_status
from pagelet_operator.api.memory import state as remembered
from pagelet_operator.core.analysis import AnalysisPolicy, Judgement, Verdict
from pagelet_operator.core.conditions import conditions
from pagelet_operator.core.model import Capacity, Fleet, Role, Strategy
from pagelet_operator.core.planning import decide
from pagelet_operator.core.rollout import (
    DRAIN_S,
    Decision,
    Observations,
    Phase,
    RolloutState,
    parse_command,
    step,
)

A, B, C = "chat-a", "chat-b", "chat-c"
DEADLINE_S = POLICY.progress_deadline_s
ANALYSED = replace(POLICY, analysis=AnalysisPolicy(interval_s=15.0, failure_limit=1))
HALF = RolloutState(
    phase=Phase.PROGRESSING, stable=A, canary=B, step=2, weight=50, capacity=Capacity.BORROW
)
ALONE = replace(HALF, step=0, weight=100, capacity=Capacity.IN_PLACE)
ABORT = parse_command("abort/1")
HARM = Judgement(verdict=Verdict.FAIL, message="12 % errors")


def borrowed(state: RolloutState, ready: dict[str, int], target: str = A, **seen: Any) -> Decision:
    """One look at four replicas of which three are needed."""
    model = a_model(target, replicas=4, rollout=replace(ANALYSED, capacity=Capacity.BORROW))
    return step(state, model, a_fleet(ready), 10.0, Observations(needed=3, measured=True, **seen))


def in_place(
    state: RolloutState, fleet: Fleet, target: str = A, now: float = 10.0, **seen: Any
) -> Decision:
    """One look at a model of one replica."""
    model = a_model(target, rollout=replace(ANALYSED, capacity=Capacity.IN_PLACE))
    return step(state, model, fleet, now, Observations(measured=True, **seen))


WAYS = {
    "abort": (B, {"command": ABORT}),
    "back": (A, {}),
    "harm": (B, {"canary": B, "judgement": HARM, "judged_at": 10.0}),
    "third": (C, {}),
}
ways = pytest.mark.parametrize(("target", "seen"), WAYS.values(), ids=WAYS)


@ways
def test_what_was_borrowed_goes_back_replica_by_replica(target, seen) -> None:
    dropped = borrowed(HALF, {A: 2, B: 2}, target, **seen)
    assert (dropped.weights[A], dropped.weights[B]) == (67, 33), "two of the three needed"
    assert (dropped.replicas[A], dropped.replicas[B]) == (4, 1), "one makes room"
    assert dropped.roles[B] is Role.RETIRED
    same = borrowed(dropped.state, {A: 2, B: 1}, target, **seen)
    assert same.weights == dropped.weights
    whole = borrowed(same.state, {A: 3, B: 1}, target, **seen)
    assert (whole.weights[A], whole.weights.get(B, 0)) == (100, 0)
    (gone,) = whole.state.retained
    assert gone.until == 10.0 + DRAIN_S, "it drains as ever"


@ways
def test_the_only_replica_that_answers_keeps_all_until_stable_does(target, seen) -> None:
    dropped = in_place(ALONE, a_fleet({A: 0, B: 1}), target, **seen)
    assert (dropped.weights[A], dropped.weights[B]) == (0, 100)
    assert (dropped.replicas[A], dropped.replicas[B]) == (1, 1)
    later = in_place(dropped.state, a_fleet({A: 0, B: 1}), target, 300.0, **seen)
    assert later.weights == dropped.weights
    back = in_place(later.state, a_fleet({A: 1, B: 1}), target, 301.0, **seen)
    assert (back.weights[A], back.weights.get(B, 0)) == (100, 0)


def test_what_harms_and_does_not_answer_keeps_nothing() -> None:
    broken = in_place(ALONE, a_fleet({A: 0}, chat_b="out of memory"), B)
    assert (broken.reason, broken.weights) == ("ReplicaFailed", {A: 100})


def test_a_share_never_rises_again() -> None:
    dropped = borrowed(HALF, {A: 2, B: 2})
    assert borrowed(dropped.state, {A: 1, B: 1}).weights == {A: 67, B: 33}


def test_beside_a_whole_stable_a_canary_gives_all_back_at_once() -> None:
    model, beside = a_model(A, replicas=4), replace(HALF, capacity=None)
    assert step(beside, model, a_fleet({A: 4, B: 4}), 10.0).weights == {A: 100}
    lost = step(beside, model, a_fleet({A: 0, B: 4}), 10.0)
    assert lost.weights == {A: 50, B: 50}, "nobody of stable answers"
    assert step(lost.state, model, a_fleet({A: 1, B: 4}), 20.0).weights == {A: 100}
    busy = step(beside, model, a_fleet({A: 2, B: 4}), 10.0, Observations(needed=3))
    assert busy.weights == {A: 67, B: 33}


def test_recreate_leaves_its_gap() -> None:
    model = a_model(A, rollout=replace(POLICY, strategy=Strategy.RECREATE))
    state = replace(ALONE, capacity=None)
    assert step(state, model, a_fleet({A: 0, B: 1}), 10.0).weights == {A: 100}


def test_a_stable_that_waits_for_this_very_room_gets_it_when_no_request_needs_it() -> None:
    fleet = a_fleet({A: 0, B: 1})
    short = replace(fleet.revisions[A], short="Insufficient nvidia.com/gpu")
    fleet = Fleet({**fleet.revisions, A: short})
    busy = in_place(ALONE, fleet, needed=1)
    assert busy.weights == {A: 0, B: 100}
    assert "Insufficient nvidia.com/gpu" in busy.state.message
    assert in_place(busy.state, fleet, needed=0).weights == {A: 100}


def test_a_stable_that_does_not_come_back_is_told_of() -> None:
    fleet, model = a_fleet({A: 0, B: 1}), a_model(A)
    state = in_place(ALONE, fleet).state
    for now, said in ((DEADLINE_S, "False"), (10.0 + DEADLINE_S, "True")):
        outcome = decide(model, state, fleet, now)
        found = {item.type: item for item in conditions(outcome, 1, (), now)}
        assert outcome.decision.weights == {A: 0, B: 100}
        assert found["Stalled"].status == said
        assert found["Progressing"].status == "False"
    assert found["Stalled"].reason == "StableNotReady"
    assert "chat-b keeps 100 % until more of chat-a's" in found["Stalled"].message


def test_a_withdrawal_says_who_goes_on_answering() -> None:
    target, seen = WAYS["harm"]
    dropped = in_place(ALONE, a_fleet({A: 0, B: 1}), target, **seen)
    assert dropped.reason == "AnalysisFailed"
    assert "12 % errors; it answers only what chat-a has no ready" in dropped.state.message


def test_the_next_canary_waits_for_the_place_and_not_for_ever() -> None:
    fleet = a_fleet({A: 0, B: 1})
    waits = in_place(ALONE, fleet, C)
    assert (waits.reason, waits.replicas) == ("WaitingForStable", {A: 1, B: 1, C: 0})
    assert waits.wake_at == 10.0 + DEADLINE_S
    late = in_place(waits.state, fleet, C, 10.0 + DEADLINE_S)
    assert late.replicas[C] == 1, "it may be what mends stable's absence"
    ready = in_place(late.state, a_fleet({A: 0, B: 1, C: 1}), C, 700.0)
    assert ready.weights == {A: 0, C: 100}


@pytest.mark.parametrize("seen", [{"command": parse_command("retry/2")}, {}])
def test_a_revision_that_still_answers_is_tried_again_with_what_it_has(seen) -> None:
    state = borrowed(HALF, {A: 2, B: 2}, *WAYS["abort"][:1], **WAYS["abort"][1]).state
    if not seen:
        state = borrowed(state, {A: 2, B: 1}).state
    again = borrowed(state, {A: 2, B: 1}, B, **seen)
    assert again.state.canary == B
    assert (again.state.step, again.weights) == (0, {A: 67, B: 33})


@given(st.integers(0, 4), st.integers(0, 4), st.sampled_from(sorted(WAYS)))
def test_a_restart_in_between_changes_nothing(ready, others, way) -> None:
    target, seen = WAYS[way]
    state = borrowed(HALF, {A: ready, B: others}, target, **seen).state
    stored = rollout_status(state).model_dump(by_alias=True)
    assert remembered(stored) == state


@pytest.mark.parametrize(
    ("target", "gated", "keeps"), [(A, False, 100), (C, False, 100), (A, True, 0)]
)
def test_what_answers_alone_on_its_way_back_outlives_the_memory_of_it(target, gated, keeps) -> None:
    policy = replace(POLICY, capacity=Capacity.IN_PLACE, gated=gated)
    marks = {A: Role.STABLE, B: Role.RETIRED}
    model = a_model(target, rollout=policy)
    found = step(RolloutState(), model, a_fleet({A: 0, B: 1}, marks), 10.0)
    assert (found.state.stable, found.weights.get(B, 0)) == (A, keeps)
    assert step(found.state, model, a_fleet({A: 1, B: 1}, marks), 20.0).weights[A] == 100


def test_what_was_retired_beside_a_stable_that_answers_gets_nothing_for_lost_memory() -> None:
    marks = {A: Role.STABLE, B: Role.RETIRED}
    model = a_model(A, replicas=4, rollout=replace(POLICY, capacity=Capacity.BORROW))
    assert step(RolloutState(), model, a_fleet({A: 1, B: 3}, marks), 10.0).weights == {A: 100}


def test_the_next_canary_gets_its_replicas_in_the_look_that_frees_the_place() -> None:
    waits = in_place(ALONE, a_fleet({A: 0, B: 1}), C)
    freed = in_place(waits.state, a_fleet({A: 1, B: 1}), C, 20.0, needed=0)
    assert (freed.reason, freed.replicas[C]) == ("CanaryNotReady", 1)
    assert freed.state.unready_since == 20.0, "its deadline begins only now"


def test_a_revision_tried_again_stays_where_it_found_room() -> None:
    model, fleet = a_model(A, replicas=4), a_fleet({A: 2, B: 2})
    seen = Observations(needed=3)
    dropped = step(HALF, model, fleet, 10.0, seen).state
    again = step(dropped, replace(model, revision=B), fleet, 20.0, seen)
    assert (again.state.capacity, again.weights) == (Capacity.BORROW, {A: 67, B: 33})
