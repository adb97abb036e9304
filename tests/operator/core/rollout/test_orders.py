"""What people say to a rollout: each command does its thing once, or says why not."""

from dataclasses import replace

import pytest

from operator_models import POLICY, a_fleet, a_model
from pagelet_operator.core.gates import GateKey, GateKind, GateResult, GateStatus
from pagelet_operator.core.model import Role
from pagelet_operator.core.rollout import (
    CommandKind,
    Decision,
    Observations,
    Phase,
    RolloutState,
    parse_command,
    step,
)

A, B = "chat-a", "chat-b"
BOTH = a_fleet({A: 1, B: 1})
STABLE = RolloutState(phase=Phase.STABLE, stable=A)
FAILED = RolloutState(phase=Phase.FAILED, stable=A, failed=B)


def say(text, state, now=0.0, *, fleet=BOTH, model=None) -> Decision:
    seen = Observations(command=parse_command(text) if text else None)
    return step(state, model or a_model(B), fleet, now, seen)


def canary(fleet=BOTH) -> RolloutState:
    return step(STABLE, a_model(B), fleet, 0.0).state


def refusal(text, state, **world) -> str:
    answer = say(text, state, **world).state.answer
    assert not answer.accepted
    return answer.message


def test_promote_leaves_the_step_without_waiting_for_its_hold() -> None:
    decision = say("promote/1", canary(), 10.0)
    assert (decision.weights[B], decision.reason) == (25, "PromotionCommanded")
    assert decision.state.step_started_at == 10.0


def test_promoting_step_by_step_ends_in_stable() -> None:
    state = canary()
    for number, weight in ((1, 25), (2, 50), (3, 100)):
        decision = say(f"promote/{number}", state, 10.0 * number)
        state = decision.state
        assert decision.weights[B] == weight
    assert (state.phase, state.stable) == (Phase.STABLE, B)


def test_promote_full_makes_it_stable_at_once() -> None:
    decision = say("promote-full/1", canary(), 10.0)
    assert (decision.weights, decision.reason) == ({B: 100}, "Promoted")


def test_promote_gives_an_approval() -> None:
    steps = (replace(POLICY.steps[0], approval=True), *POLICY.steps[1:])
    model = a_model(B, rollout=replace(POLICY, steps=steps))
    waiting = step(step(STABLE, model, BOTH, 0.0).state, model, BOTH, 60.0)
    assert waiting.state.phase is Phase.AWAITING_APPROVAL
    assert say("promote/1", waiting.state, 100.0, model=model).weights[B] == 25
    assert "promote gives it" in refusal("resume/1", waiting.state, model=model)


def test_promote_lets_a_canary_out_of_its_gates() -> None:
    model = a_model(B, rollout=replace(POLICY, gated=True))
    gating = step(STABLE, model, BOTH, 0.0).state
    assert gating.phase is Phase.GATING
    assert say("promote/1", gating, 10.0, model=model).weights[B] == 5


def test_nobody_is_promoted_without_the_replicas_for_it() -> None:
    few, model = a_fleet({A: 2, B: 1}), a_model(B, replicas=2)
    at_half = replace(canary(), step=2, weight=33)
    for text in ("promote/1", "promote-full/1"):
        assert "1 of 2 replicas" in refusal(text, at_half, fleet=few, model=model)


def test_what_is_promoted_in_full_gets_the_rest_when_it_has_the_replicas_for_it() -> None:
    model = a_model(B, replicas=2)
    told = say("promote-full/1", canary(), fleet=a_fleet({A: 2, B: 1}), model=model)
    assert (told.state.phase, told.weights[B]) == (Phase.PROMOTING, 33)
    assert told.replicas == {A: 2, B: 2}
    done = say("", told.state, 10.0, fleet=a_fleet({A: 2, B: 2}), model=model)
    assert done.weights == {B: 100}


def test_a_pause_holds_the_weight_and_the_hold_goes_on_where_it_was() -> None:
    paused = say("pause/1", canary(), 50.0)
    assert (paused.weights[B], paused.reason) == (5, "Paused")
    later = say("pause/1", paused.state, 5000.0)
    assert (later.weights[B], later.state.step) == (5, 0)
    resumed = say("resume/2", paused.state, 5000.0)
    assert (resumed.weights[B], resumed.reason) == (5, "Resumed")
    assert resumed.wake_at == 5010.0
    assert say("", resumed.state, 5009.0).weights[B] == 5
    assert say("", resumed.state, 5010.0).weights[B] == 25


def test_pausing_twice_begins_once() -> None:
    paused = say("pause/1", canary(), 50.0).state
    assert say("pause/2", paused, 90.0).state.paused.since == 50.0


def test_in_a_pause_no_deadline_passes() -> None:
    nobody = a_fleet({A: 1, B: 0})
    paused = say("pause/1", canary(nobody), 100.0, fleet=nobody).state
    later = say("", paused, 9999.0, fleet=nobody).state
    assert later.canary == B
    resumed = say("resume/2", later, 9999.0, fleet=nobody)
    assert resumed.wake_at == 9999.0 + POLICY.progress_deadline_s - 100.0


def test_a_canary_that_becomes_ready_in_a_pause_gets_no_traffic_before_its_end() -> None:
    nobody = a_fleet({A: 1, B: 0})
    paused = say("pause/1", canary(nobody), 1.0, fleet=nobody).state
    waiting = say("", paused, 2.0)
    assert (waiting.weights[B], waiting.state.phase) == (0, Phase.STARTING)
    assert say("resume/2", waiting.state, 3.0).weights[B] == 5


def test_replicas_lost_in_a_pause_have_their_whole_deadline_from_its_end() -> None:
    paused = say("pause/1", canary(), 10.0).state
    lost = say("", paused, 50.0, fleet=a_fleet({A: 1, B: 0})).state
    resumed = say("resume/2", lost, 100.0, fleet=a_fleet({A: 1, B: 0}))
    assert resumed.state.unready_since == 100.0


def test_promoting_ends_a_pause() -> None:
    paused = say("pause/1", canary(), 10.0).state
    promoted = say("promote/2", paused, 20.0)
    assert (promoted.weights[B], promoted.state.paused) == (25, None)


def test_an_aborted_canary_loses_its_traffic_and_is_not_tried_again() -> None:
    aborted = say("abort/1", canary(), 10.0)
    assert (aborted.weights, aborted.reason) == ({A: 100}, "Aborted")
    assert aborted.roles[B] is Role.RETIRED
    assert say("abort/1", aborted.state, 99.0, fleet=a_fleet({A: 1})).roles == {A: Role.STABLE}


def test_retry_starts_at_the_first_step_again() -> None:
    again = say("retry/1", FAILED, 10.0)
    assert again.state.canary == B
    assert again.weights == {A: 95, B: 5}
    assert again.state.failed is None


def test_retry_runs_again_the_gates_that_were_not_passed() -> None:
    def result(revision: str, status: GateStatus) -> tuple[GateKey, GateResult]:
        return GateKey(revision, GateKind.WARMUP, "s"), GateResult(status=status)

    gates = dict([result(B, GateStatus.FAILED), result(A, GateStatus.PASSED)])
    again = say("retry/1", replace(FAILED, gates=gates), 10.0)
    assert [key.revision for key in again.state.gates] == [A]


def test_retry_gives_a_first_revision_its_deadline_again() -> None:
    nothing = a_fleet({A: 0})
    first = RolloutState(phase=Phase.FAILED, canary=A, unready_since=0.0)
    again = say("retry/1", first, 5000.0, fleet=nothing, model=a_model(A))
    assert (again.state.phase, again.state.unready_since) == (Phase.STARTING, 5000.0)


@pytest.mark.parametrize("kind", CommandKind)
def test_a_command_is_obeyed_once_however_often_it_is_read(kind) -> None:
    state = FAILED if kind is CommandKind.RETRY else canary()
    state = say("pause/0", state).state if kind is CommandKind.RESUME else state
    once = say(f"{kind}/1", state, 10.0)
    assert once.state.answer.accepted
    again = say(f"{kind}/1", once.state, 10.0)
    assert (again.state, again.weights) == (once.state, once.weights)


def test_a_command_that_outlived_the_memory_of_it_is_not_obeyed_again() -> None:
    world = a_fleet({A: 1, B: 1}, {A: Role.STABLE, B: Role.CANARY})
    lost = say("promote-full/1", RolloutState(), fleet=world)
    assert lost.weights[A] > 0
    assert lost.state.canary == B
    assert not lost.state.answer.accepted
    assert "give the command again" in lost.state.answer.message
    given_again = say("promote-full/2", lost.state, fleet=world)
    assert given_again.weights == {B: 100}


@pytest.mark.parametrize(
    ("text", "state", "sentence"),
    [
        ("promote", STABLE, "nothing to promote: chat-a serves all requests"),
        ("abort", FAILED, "retry tries it again"),
        ("resume", canary(), "it is not paused"),
        ("retry", canary(), "no revision was withdrawn"),
        ("retry/1/chat-z", FAILED, "chat-z was not withdrawn, chat-b was"),
        ("abort/1/chat-z", canary(), "chat-z is not on trial, chat-b is"),
        ("yolo", canary(), "'yolo' is no command; there are promote"),
        (
            "pause",
            RolloutState(phase=Phase.PROMOTING, stable=A, canary=B, weight=50),
            "abort takes it back",
        ),
    ],
)
def test_what_cannot_be_done_is_answered_with_the_reason(text, state, sentence) -> None:
    model = a_model(A) if state is STABLE else a_model(B)
    fleet = a_fleet({A: 1, B: 0}) if state.phase is Phase.PROMOTING else BOTH
    assert sentence in refusal(text, state, model=model, fleet=fleet)


def test_a_first_revision_can_only_be_edited() -> None:
    first = RolloutState(canary=A, unready_since=0.0)
    fleet = a_fleet({A: 0})
    assert "edit the spec" in refusal("abort", first, fleet=fleet, model=a_model(A))


def test_a_refused_command_changes_nothing_else() -> None:
    before = canary()
    after = say("resume/1", before, 10.0)
    assert replace(after.state, answer=None) == before
    assert after.reason == "Holding"
