"""Lost memory: what the world says is gone by, and nothing is accepted for want of memory."""

from dataclasses import replace

import pytest

from operator_models import POLICY, a_fleet, a_model
from pagelet_operator.core.analysis import AnalysisPolicy, Judgement, Verdict
from pagelet_operator.core.model import Capacity, Fleet, Role, Strategy
from pagelet_operator.core.rollout import Observations, Phase, RolloutState, parse_command, step

A, B, C = "chat-a", "chat-b", "chat-c"
MARKS = {A: Role.STABLE, B: Role.CANARY}
ANALYSED = replace(POLICY, analysis=AnalysisPolicy(interval_s=15.0, failure_limit=2))
LOST = RolloutState()


def saw(verdict: Verdict | None, at: float, **more) -> Observations:
    judgement = None if verdict is None else Judgement(verdict=verdict, message="because")
    return Observations(canary=B, measured=True, judgement=judgement, judged_at=at, **more)


def test_what_is_marked_stable_stays_stable_and_the_rollout_starts_over() -> None:
    decision = step(LOST, a_model(B), a_fleet({A: 1, B: 1}, MARKS), 50.0)
    assert decision.roles == MARKS
    assert decision.weights == {A: 95, B: 5}


def test_without_marks_what_alone_answers_is_adopted() -> None:
    decision = step(LOST, a_model(C), a_fleet({A: 1, B: 0}), 50.0)
    assert decision.weights == {A: 100, C: 0}


def test_a_target_that_answers_itself_without_marks_is_adopted_and_it_is_said() -> None:
    decision = step(LOST, a_model(B), a_fleet({A: 1, B: 1}), 50.0)
    assert (decision.weights, decision.reason) == ({B: 100}, "AdoptedWithoutJudgement")


def test_a_canary_of_whose_stable_nothing_is_known_is_adopted_and_it_is_said() -> None:
    decision = step(LOST, a_model(B), a_fleet({B: 1}, {B: Role.CANARY}), 50.0)
    assert (decision.weights, decision.reason) == ({B: 100}, "AdoptedWithoutJudgement")


def test_a_first_revision_that_is_remembered_was_waited_for() -> None:
    waiting = step(LOST, a_model(B), a_fleet({B: 0}, {B: Role.CANARY}), 50.0)
    ready = step(waiting.state, a_model(B), a_fleet({B: 1}, {B: Role.CANARY}), 60.0)
    assert ready.reason == "FirstRevisionReady"


def test_a_stable_that_lost_its_mark_is_told_by_the_canarys() -> None:
    known = a_fleet({A: 0, B: 1, C: 0}, {B: Role.CANARY, C: Role.RETIRED}, {A: 0, C: 1})
    decision = step(LOST, a_model(B, rollout=ANALYSED), known, 50.0, saw(None, 50.0))
    assert decision.state.stable == A
    assert decision.weights == {A: 0, B: 100}


@pytest.mark.parametrize("capacity", [Capacity.AUTO, Capacity.IN_PLACE])
def test_a_canary_in_stables_place_keeps_all_traffic_and_is_judged(capacity) -> None:
    model = a_model(B, rollout=replace(ANALYSED, capacity=capacity))
    alone = a_fleet({A: 0, B: 1}, MARKS, {A: 0})
    lost = step(LOST, model, alone, 0.0, saw(None, 0.0))
    assert (lost.state.stable, lost.state.step) == (A, 0)
    assert lost.weights == {A: 0, B: 100}
    assert lost.replicas == {A: 0, B: 1}
    undecided = step(lost.state, model, alone, 60.0, saw(Verdict.INCONCLUSIVE, 60.0))
    assert undecided.weights == {A: 0, B: 100}
    passed = step(undecided.state, model, alone, 75.0, saw(Verdict.PASS, 75.0))
    assert passed.state.stable == B
    failed = step(undecided.state, model, alone, 75.0, saw(Verdict.FAIL, 75.0))
    failed = step(failed.state, model, alone, 90.0, saw(Verdict.FAIL, 90.0))
    assert (failed.reason, failed.replicas) == ("AnalysisFailed", {A: 1, B: 1})
    assert failed.weights == {A: 0, B: 100}, "it answers until stable does"


def test_traffic_goes_back_to_stable_only_as_its_replicas_become_ready() -> None:
    """A canary that had replaced all of four replicas is tried anew from the first step."""
    model = a_model(B, replicas=4, rollout=replace(ANALYSED, capacity=Capacity.BORROW))
    lost = step(LOST, model, a_fleet({A: 0, B: 4}, MARKS, {A: 0}), 0.0, saw(None, 0.0))
    assert (lost.weights, lost.replicas) == ({A: 0, B: 100}, {A: 1, B: 3})
    state, ready, weights, now = lost.state, {A: 0, B: 3}, [], 0.0
    for _ in range(10):
        now += 1.0
        found = step(state, model, a_fleet(ready, MARKS), now, saw(None, 0.0))
        state = found.state
        assert found.weights[A] < 100 * ready[A] / 3 + 1, "more than stable can take"
        assert found.weights[B] <= 100 * ready[B] / 3, "more than the canary can carry"
        weights.append(found.weights[B])
        ready = dict(found.replicas)
    assert weights == sorted(weights, reverse=True)
    assert weights[-1] == 5
    began = next(index for index, weight in enumerate(weights) if weight == 5) + 1
    assert state.step_started_at == began, "the hold begins with the step's own share"


def test_recreate_goes_on_with_what_answers() -> None:
    model = a_model(B, rollout=replace(ANALYSED, strategy=Strategy.RECREATE))
    lost = step(LOST, model, a_fleet({A: 0, B: 1}, MARKS, {A: 0}), 0.0, saw(None, 0.0))
    assert (lost.state.stable, lost.weights) == (A, {A: 0, B: 100})
    assert lost.replicas == {A: 0, B: 1}


def test_while_no_replica_of_stable_is_ready_the_canary_keeps_the_traffic() -> None:
    model = a_model(B, rollout=ANALYSED)
    lost = step(LOST, model, a_fleet({A: 0, B: 1}, MARKS), 0.0, saw(None, 0.0))
    assert (lost.weights, lost.replicas) == ({A: 0, B: 100}, {A: 1, B: 1})
    back = step(lost.state, model, a_fleet({A: 1, B: 1}, MARKS), 1.0, saw(None, 0.0))
    assert (back.weights, back.state.step_started_at) == ({A: 95, B: 5}, 1.0)


def test_a_stable_that_is_only_not_ready_gives_traffic_to_no_canary_before_its_gates() -> None:
    fleet = a_fleet({A: 0, B: 1}, MARKS, {A: 1})
    gated = a_model(B, rollout=replace(ANALYSED, gated=True))
    assert step(LOST, gated, fleet, 0.0, saw(None, 0.0)).weights == {A: 100, B: 0}


@pytest.mark.parametrize("why", ["broken", "not the target", "not ready"])
def test_nothing_else_is_tried_in_stables_place(why: str) -> None:
    target = C if why == "not the target" else B
    ready = {A: 0, B: 0 if why == "not ready" else 1}
    fleet = a_fleet(ready, MARKS, {A: 0})
    if why == "broken":
        found = replace(fleet.revisions[B], failure="no such file")
        fleet = Fleet({**fleet.revisions, B: found})
    decision = step(LOST, a_model(target, rollout=ANALYSED), fleet, 0.0, saw(None, 0.0))
    assert decision.state.stable == A
    assert decision.weights[A] == 100


@pytest.mark.parametrize(
    ("text", "phase", "paused"),
    [
        ("pause/1", Phase.PROGRESSING, True),
        (f"pause/1/{B}", Phase.PROGRESSING, True),
        (f"abort/1/{B}", Phase.FAILED, False),
        ("abort/1", Phase.PROGRESSING, False),
        (f"abort/1/{C}", Phase.PROGRESSING, False),
        (f"promote/1/{B}", Phase.PROGRESSING, False),
        (f"promote-full/1/{B}", Phase.PROGRESSING, False),
        (f"retry/1/{B}", Phase.PROGRESSING, False),
    ],
)
def test_only_what_gives_a_canary_nothing_is_obeyed_twice(text, phase, paused) -> None:
    fleet = a_fleet({A: 1, B: 1}, MARKS)
    seen = replace(saw(None, 0.0), command=parse_command(text))
    decision = step(LOST, a_model(B, rollout=ANALYSED), fleet, 0.0, seen)
    found = decision.state.paused is not None
    assert found is paused
    assert decision.state.phase is (Phase.STARTING if paused else phase)
    assert decision.weights.get(B, 0) == (5 if not paused and phase is Phase.PROGRESSING else 0)
    again = step(decision.state, a_model(B, rollout=ANALYSED), fleet, 1.0, seen)
    assert again.weights == decision.weights
