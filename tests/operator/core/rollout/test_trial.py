"""A canary's trial: verdicts, gates and approvals, stepped by hand with a manual clock."""

from dataclasses import replace
from typing import Any

import pytest

from operator_models import POLICY, a_fleet, a_model
from pagelet_operator.core.analysis import AnalysisPolicy, Judgement, Verdict
from pagelet_operator.core.model import Capacity, Role, Strategy
from pagelet_operator.core.rollout import (
    Assessment,
    Decision,
    Observations,
    Pause,
    Phase,
    Retained,
    RolloutState,
    look_at,
    parse_command,
    step,
)

A, B = "chat-a", "chat-b"
INTERVAL_S, HOLD_S, DEADLINE_S = 15.0, 60.0, 600.0
ANALYSED = replace(POLICY, analysis=AnalysisPolicy(interval_s=INTERVAL_S, failure_limit=2))
BOTH = a_fleet({A: 1, B: 1})
STABLE = RolloutState(phase=Phase.STABLE, stable=A)


def saw(verdict: Verdict | None, at: float, canary: str = B, **more: Any) -> Observations:
    judgement = None if verdict is None else Judgement(verdict=verdict, message="p99 ITL 80 ms")
    return Observations(canary=canary, measured=True, judgement=judgement, judged_at=at, **more)


def at(state: RolloutState, now: float, verdict: Verdict | None = None, policy=ANALYSED, **more):
    seen = saw(verdict, now, **more)
    return step(state, a_model(B, rollout=policy), BOTH, now, seen)


def begun(policy=ANALYSED, **more) -> Decision:
    return at(STABLE, 0.0, policy=policy, **more)


def test_a_step_is_left_when_its_hold_is_over_and_a_later_look_says_pass() -> None:
    early = at(begun().state, 45.0, Verdict.PASS)
    over = at(early.state, HOLD_S)
    assert (over.weights[B], over.reason) == (5, "Inconclusive")
    passed = at(over.state, HOLD_S, Verdict.PASS)
    assert (passed.weights[B], passed.reason) == (25, "StepCompleted")
    assert passed.state.assessment is None, "the next step is judged by itself"


def test_a_pass_before_the_hold_is_over_leaves_nothing_early() -> None:
    assert at(begun().state, HOLD_S - 1, Verdict.PASS).weights[B] == 5


def test_fails_in_a_row_withdraw_the_canary_with_the_reason() -> None:
    once = at(begun().state, 15.0, Verdict.FAIL)
    assert once.weights[B] == 5
    between = at(once.state, 30.0, Verdict.INCONCLUSIVE)
    assert between.weights[B] == 5
    twice = at(between.state, 45.0, Verdict.FAIL)
    assert (twice.state.phase, twice.reason) == (Phase.FAILED, "AnalysisFailed")
    assert twice.weights == {A: 100}
    assert "p99 ITL 80 ms" in twice.state.message


def test_a_pass_ends_the_row_of_fails() -> None:
    state = begun().state
    for now, verdict in ((15.0, Verdict.FAIL), (30.0, Verdict.PASS), (45.0, Verdict.FAIL)):
        state = at(state, now, verdict).state
    assert state.canary == B


def test_the_same_look_told_again_counts_once() -> None:
    once = at(begun().state, 15.0, Verdict.FAIL)
    again = step(once.state, a_model(B, rollout=ANALYSED), BOTH, 20.0, saw(Verdict.FAIL, 15.0))
    assert again.state.assessment.failures == 1


def test_a_look_at_another_canary_or_from_before_the_step_counts_nothing() -> None:
    model = a_model(B, rollout=ANALYSED)
    for seen in (saw(Verdict.FAIL, 15.0, canary=A), saw(Verdict.FAIL, 0.0)):
        assert step(begun().state, model, BOTH, 15.0, seen).state.assessment is None


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (Verdict.INCONCLUSIVE, "Inconclusive"),
        (Verdict.ERROR, "AnalysisError"),
        (None, "Inconclusive"),
    ],
)
def test_what_is_not_decided_holds_and_after_the_deadline_asks_a_person(verdict, reason) -> None:
    held = at(begun().state, HOLD_S, verdict)
    assert (held.weights[B], held.reason) == (5, reason)
    assert held.wake_at == HOLD_S + INTERVAL_S
    almost = at(held.state, HOLD_S + DEADLINE_S - 1, verdict)
    assert almost.state.paused is None
    paused = at(almost.state, HOLD_S + DEADLINE_S, verdict)
    assert paused.state.paused.reason == reason
    assert paused.weights == {A: 95, B: 5}
    assert "promote goes on without a verdict" in paused.state.message
    for now in (2000.0, 1e6):
        assert at(paused.state, now, verdict).weights == {A: 95, B: 5}, "for as long as it takes"


def test_resuming_what_was_not_decided_waits_its_whole_time_again() -> None:
    state = at(begun().state, HOLD_S, Verdict.INCONCLUSIVE).state
    state = at(state, HOLD_S + DEADLINE_S, Verdict.INCONCLUSIVE).state
    told = {"command": parse_command("resume/1")}
    state = at(state, 5000.0, Verdict.INCONCLUSIVE, **told).state
    assert state.paused is None
    assert at(state, 5000.0 + DEADLINE_S - 1, Verdict.INCONCLUSIVE).state.paused is None
    assert at(state, 5000.0 + DEADLINE_S, Verdict.INCONCLUSIVE).state.paused is not None


def test_a_paused_canary_that_does_harm_is_withdrawn_all_the_same() -> None:
    state = at(begun().state, HOLD_S, Verdict.INCONCLUSIVE).state
    state = at(state, HOLD_S + DEADLINE_S, Verdict.FAIL).state
    assert state.paused is not None
    assert at(state, HOLD_S + DEADLINE_S + 15, Verdict.FAIL).reason == "AnalysisFailed"


def test_where_nothing_is_measured_or_judged_only_time_counts() -> None:
    model = a_model(B, rollout=ANALYSED)
    assert step(begun().state, model, BOTH, HOLD_S).weights[B] == 25
    blind = replace(POLICY, analysis=AnalysisPolicy(metrics=()))
    assert at(begun(blind).state, HOLD_S, policy=blind).weights[B] == 25


def test_looks_are_wanted_each_interval_and_at_the_end_of_the_hold() -> None:
    state = begun().state
    assert look_at(state, ANALYSED) == INTERVAL_S
    near = replace(state, assessment=Assessment(Verdict.PASS, "", 50.0, 0))
    assert look_at(near, ANALYSED) == HOLD_S
    after = replace(state, assessment=Assessment(Verdict.ERROR, "", 70.0, 0))
    assert look_at(after, ANALYSED) == 70.0 + INTERVAL_S
    assert look_at(STABLE, ANALYSED) is None
    assert look_at(state, POLICY) is None


GATED = replace(POLICY, gated=True)


def gate(verdict: Verdict | None, now: float = 0.0, state: RolloutState = STABLE, canary=B):
    return at(state, now, policy=GATED, gates=verdict, gates_message="parity 71 %", canary=canary)


def test_a_gated_canary_has_no_traffic_before_its_gates_are_passed() -> None:
    running = gate(Verdict.INCONCLUSIVE)
    assert (running.state.phase, running.weights[B]) == (Phase.GATING, 0)
    assert gate(Verdict.PASS, canary=A).weights[B] == 0, "another canary's"
    passed = gate(Verdict.PASS, 30.0, running.state)
    assert (passed.weights[B], passed.reason) == (5, "GatesPassed")


def test_a_failed_gate_withdraws_the_canary_before_any_user_met_it() -> None:
    failed = gate(Verdict.FAIL)
    assert (failed.reason, failed.state.failed) == ("GateFailed", B)
    assert "parity 71 %" in failed.state.message


@pytest.mark.parametrize("verdict", [Verdict.ERROR, None])
def test_gates_that_cannot_be_run_pause_it_after_the_deadline(verdict) -> None:
    waiting = gate(verdict)
    late = gate(verdict, DEADLINE_S, waiting.state)
    assert late.state.paused.reason == "GateError"
    assert late.weights[B] == 0


def test_gates_that_run_have_a_time_limit_of_their_own() -> None:
    running = gate(Verdict.INCONCLUSIVE)
    assert gate(Verdict.INCONCLUSIVE, 10 * DEADLINE_S, running.state).state.paused is None


def test_a_step_with_approval_waits_for_a_person_for_as_long_as_it_takes() -> None:
    steps = (replace(POLICY.steps[0], approval=True), *POLICY.steps[1:])
    policy = replace(POLICY, steps=steps)
    over = at(begun(policy).state, HOLD_S, policy=policy)
    assert (over.state.phase, over.reason) == (Phase.AWAITING_APPROVAL, "AwaitingApproval")
    assert over.wake_at is None
    assert at(over.state, 1e6, policy=policy).weights[B] == 5


def test_blue_green_moves_all_traffic_at_once_and_keeps_the_way_back() -> None:
    policy = replace(POLICY, strategy=Strategy.BLUE_GREEN)
    waiting = step(STABLE, a_model(B, rollout=policy), a_fleet({A: 1, B: 0}), 0.0)
    assert waiting.weights == {A: 100, B: 0}
    moved = at(waiting.state, 10.0, policy=policy)
    assert (moved.weights, moved.reason) == ({A: 0, B: 100}, "CanaryReady")
    assert moved.roles == {A: Role.STABLE, B: Role.CANARY}
    done = at(moved.state, 11.0, policy=policy)
    assert (done.weights, done.reason) == ({B: 100}, "Promoted")
    assert done.state.retained == (Retained(A, 11.0 + POLICY.retain_stable_s, proven=True),)


@pytest.mark.parametrize("strategy", [Strategy.BLUE_GREEN, Strategy.RECREATE])
def test_what_got_everything_at_once_is_judged_before_it_is_stable(strategy) -> None:
    policy = replace(ANALYSED, strategy=strategy)
    gone = a_fleet({A: 0 if strategy is Strategy.RECREATE else 1, B: 1})
    model = a_model(B, rollout=policy)
    moved = step(STABLE, model, gone, 0.0, saw(None, 0.0))
    assert moved.weights == {A: 0, B: 100}
    waiting = step(moved.state, model, gone, 10.0, saw(None, 0.0))
    assert (waiting.state.stable, waiting.reason) == (A, "Inconclusive")
    passed = step(waiting.state, model, gone, 15.0, saw(Verdict.PASS, 15.0))
    assert (passed.weights, passed.reason) == ({B: 100}, "Promoted")
    once = step(waiting.state, model, gone, 15.0, saw(Verdict.FAIL, 15.0))
    assert once.weights == {A: 0, B: 100}
    back = step(once.state, model, gone, 30.0, saw(Verdict.FAIL, 30.0))
    assert (back.weights, back.reason) == ({A: 100}, "AnalysisFailed")


def test_what_took_the_only_replicas_place_is_judged_and_asked_for_approval() -> None:
    steps = (POLICY.steps[0], replace(POLICY.steps[1], approval=True))
    policy = replace(ANALYSED, capacity=Capacity.IN_PLACE, steps=steps)
    model, alone = a_model(B, rollout=policy), a_fleet({A: 0, B: 1})
    state = step(STABLE, model, alone, 0.0, saw(None, 0.0, needed=0)).state
    assert (state.weight, state.stable) == (100, A)
    held = step(state, model, alone, HOLD_S - 1, saw(Verdict.PASS, HOLD_S - 1))
    assert held.reason == "Holding"
    waiting = step(held.state, model, alone, HOLD_S, saw(Verdict.PASS, HOLD_S))
    assert (waiting.weights[B], waiting.reason) == (100, "AwaitingApproval")


def test_recreate_ends_the_old_replicas_before_it_starts_the_new_ones() -> None:
    model = a_model(B, rollout=replace(POLICY, strategy=Strategy.RECREATE), replicas=2)
    ending = step(STABLE, model, a_fleet({A: 2}), 0.0)
    assert ending.replicas == {A: 0, B: 0}
    starting = step(ending.state, model, a_fleet({A: 0, B: 0}), 1.0)
    assert starting.replicas == {A: 0, B: 2}
    moved = step(starting.state, model, a_fleet({A: 0, B: 2}), 2.0)
    assert moved.weights == {A: 0, B: 100}
    done = step(moved.state, model, a_fleet({A: 0, B: 2}), 3.0)
    assert (done.weights, done.roles[A]) == ({B: 100}, Role.RETIRED)


def test_recreate_that_fails_brings_the_old_replicas_back() -> None:
    model = a_model(B, rollout=replace(POLICY, strategy=Strategy.RECREATE), replicas=2)
    ending = step(STABLE, model, a_fleet({A: 2}), 0.0)
    failed = step(ending.state, model, a_fleet({A: 0, B: 0}, chat_b="no such file"), 1.0)
    assert failed.replicas == {A: 2}
    assert failed.weights == {A: 100}


def test_a_hold_begins_when_the_replicas_carry_the_steps_whole_share() -> None:
    model = a_model(B, replicas=4, rollout=replace(POLICY, capacity=Capacity.BORROW))
    seen = Observations(needed=3)
    state = replace(STABLE, phase=Phase.PROGRESSING, canary=B, step=2, weight=25)
    state = replace(state, step_started_at=100.0, capacity=Capacity.BORROW)
    rising = step(state, model, a_fleet({A: 3, B: 1}), 110.0, seen)
    assert (rising.weights[B], rising.state.step_started_at) == (33, 100.0)
    whole = step(rising.state, model, a_fleet({A: 2, B: 2}), 500.0, seen)
    assert (whole.weights[B], whole.state.step_started_at) == (50, 500.0)


def test_in_a_pause_replicas_that_come_bring_no_traffic() -> None:
    model, state = a_model(B, replicas=4), replace(STABLE, phase=Phase.PROGRESSING, canary=B)
    state = replace(state, step=2, weight=33, paused=Pause(90.0, "Paused", "by command"))
    assert step(state, model, a_fleet({A: 4, B: 4}), 100.0).weights[B] == 33
    assert step(replace(state, paused=None), model, a_fleet({A: 4, B: 4}), 100.0).weights[B] == 50


def test_a_new_spec_in_a_pause_is_tried_without_it() -> None:
    paused = step(
        begun().state, a_model(B), BOTH, 1.0, Observations(command=parse_command("pause"))
    )
    assert paused.state.paused is not None
    other = step(paused.state, a_model("chat-c"), BOTH, 2.0)
    assert (other.state.canary, other.state.paused) == ("chat-c", None)


def test_memory_of_an_earlier_version_goes_on_with_the_weight_and_the_hold_it_had() -> None:
    old = RolloutState(phase=Phase.PROGRESSING, stable=A, canary=B, step=1, step_started_at=50.0)
    held = step(old, a_model(B), BOTH, 100.0)
    assert (held.weights[B], held.state.step_started_at) == (25, 50.0)
    assert step(held.state, a_model(B), BOTH, 110.0).weights[B] == 50
