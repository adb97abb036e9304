"""The rollout, stepped by hand with a manual clock."""

from dataclasses import replace

import pytest

from operator_models import POLICY, a_fleet, a_model
from pagelet_operator.core.model import Role
from pagelet_operator.core.rollout import DRAIN_S, Decision, Phase, RolloutState, step

A, B, C = "chat-a", "chat-b", "chat-c"


def stable_a(now: float = 0.0) -> RolloutState:
    return step(RolloutState(), a_model(A), a_fleet({A: 1}), now).state


def canary_b_at_step(index: int) -> Decision:
    """B on trial at a step, entered just now; each step was held for exactly its time."""
    decision = step(stable_a(), a_model(B), a_fleet({A: 1, B: 1}), 100.0)
    for number in range(index):
        now = 100.0 + 60.0 * (number + 1)
        decision = step(decision.state, a_model(B), a_fleet({A: 1, B: 1}), now)
    return decision


def test_the_first_revision_serves_everything_as_soon_as_it_is_ready():
    waiting = step(RolloutState(), a_model(A), a_fleet(), 0.0)
    assert (waiting.state.phase, waiting.weights) == (Phase.STARTING, {})
    assert waiting.roles == {A: Role.CANARY}
    serving = step(waiting.state, a_model(A), a_fleet({A: 1}), 5.0)
    assert (serving.state.phase, serving.weights) == (Phase.STABLE, {A: 100})
    assert serving.reason == "FirstRevisionReady"


def test_a_new_revision_takes_traffic_step_by_step_and_is_promoted_after_the_last_hold():
    seen = []
    state = stable_a()
    for now in range(0, 400, 10):
        decision = step(state, a_model(B), a_fleet({A: 1, B: 1}), float(now))
        state = decision.state
        seen.append(decision.weights.get(B, 0))
    assert sorted(set(seen)) == [5, 25, 50, 100]
    assert seen == sorted(seen), "weight fell without a reason"
    assert (state.phase, state.stable, state.canary) == (Phase.STABLE, B, None)


def test_a_canary_that_is_not_ready_gets_no_traffic():
    decision = step(stable_a(), a_model(B), a_fleet({A: 1, B: 0}), 100.0)
    assert decision.weights == {A: 100, B: 0}
    assert decision.state.phase is Phase.STARTING
    assert decision.wake_at == 100.0 + POLICY.progress_deadline_s


def test_promotion_retargets_roles_and_keeps_the_old_stable_warm_for_its_time():
    at_last = canary_b_at_step(2)
    fleet = a_fleet({A: 1, B: 1})
    promoted = step(at_last.state, a_model(B), fleet, 300.0)
    assert promoted.weights == {B: 100}
    assert promoted.roles == {B: Role.STABLE, A: Role.RETIRED}
    before = step(promoted.state, a_model(B), fleet, 300.0 + POLICY.retain_stable_s - 1)
    after = step(before.state, a_model(B), fleet, 300.0 + POLICY.retain_stable_s)
    assert A in before.roles
    assert after.roles == {B: Role.STABLE}


def test_going_back_to_the_warm_stable_takes_one_look_and_starts_nothing():
    promoted = step(canary_b_at_step(2).state, a_model(B), a_fleet({A: 1, B: 1}), 300.0)
    back = step(promoted.state, a_model(A), a_fleet({A: 1, B: 1}), 301.0)
    assert back.reason == "RolledBack"
    assert back.weights == {A: 100}
    assert back.roles == {A: Role.STABLE, B: Role.RETIRED}
    assert back.replicas == {A: 1}


def test_what_was_rolled_back_is_tried_step_by_step_if_the_spec_asks_for_it_again():
    promoted = step(canary_b_at_step(2).state, a_model(B), a_fleet({A: 1, B: 1}), 300.0)
    back = step(promoted.state, a_model(A), a_fleet({A: 1, B: 1}), 301.0)
    again = step(back.state, a_model(B), a_fleet({A: 1, B: 1}), 302.0)
    assert again.weights == {A: 95, B: 5}


def test_a_warm_stable_that_lost_its_replicas_comes_back_step_by_step():
    promoted = step(canary_b_at_step(2).state, a_model(B), a_fleet({A: 1, B: 1}), 300.0)
    back = step(promoted.state, a_model(A), a_fleet({A: 0, B: 1}), 301.0)
    assert back.weights == {B: 100, A: 0}
    assert step(back.state, a_model(A), a_fleet({A: 1, B: 1}), 302.0).weights == {B: 95, A: 5}


def test_a_newer_spec_in_mid_rollout_starts_over_with_the_same_stable():
    middle = canary_b_at_step(1)
    assert middle.weights == {A: 75, B: 25}
    newer = step(middle.state, a_model(C), a_fleet({A: 1, B: 1}), 165.0)
    assert newer.weights == {A: 100, C: 0}
    assert newer.roles == {A: Role.STABLE, C: Role.CANARY, B: Role.RETIRED}
    gone = step(newer.state, a_model(C), a_fleet({A: 1, B: 1}), 165.0 + DRAIN_S)
    assert B not in gone.roles
    ready = step(newer.state, a_model(C), a_fleet({A: 1, B: 1, C: 1}), 166.0)
    assert ready.weights == {A: 95, C: 5}, "the first step, not the one B was at"


def test_undoing_the_edit_in_mid_rollout_gives_stable_everything_back():
    undone = step(canary_b_at_step(1).state, a_model(A), a_fleet({A: 1, B: 1}), 165.0)
    assert (undone.state.phase, undone.weights) == (Phase.STABLE, {A: 100})
    assert undone.roles[B] is Role.RETIRED


def test_a_canary_that_misses_the_deadline_is_withdrawn_and_not_tried_again():
    state = stable_a()
    late = POLICY.progress_deadline_s
    state = step(state, a_model(B), a_fleet({A: 1, B: 0}), 0.0).state
    failed = step(state, a_model(B), a_fleet({A: 1, B: 0}), late)
    assert (failed.state.phase, failed.reason) == (Phase.FAILED, "ProgressDeadlineExceeded")
    assert failed.weights == {A: 100}
    again = step(failed.state, a_model(B), a_fleet({A: 1}), late + 3600)
    assert again.roles == {A: Role.STABLE}
    assert again.state.failed == B


def test_a_withdrawn_revision_is_tried_again_once_the_spec_has_been_another():
    state = replace(stable_a(), phase=Phase.FAILED, failed=B)
    assert step(state, a_model(B), a_fleet({A: 1}), 10.0).state.canary is None
    state = step(state, a_model(A), a_fleet({A: 1}), 20.0).state
    assert state.phase is Phase.STABLE
    assert step(state, a_model(B), a_fleet({A: 1}), 30.0).state.canary == B


def test_a_replica_that_can_never_start_fails_the_rollout_at_once_with_its_own_sentence():
    sentence = "max_model_len 99999 is above the model's 8192"
    failed = step(stable_a(), a_model(B), a_fleet({A: 1}, chat_b=sentence), 1.0)
    assert (failed.state.phase, failed.reason) == (Phase.FAILED, "ReplicaFailed")
    assert failed.state.message == sentence
    assert failed.weights == {A: 100}


def test_a_first_revision_that_fails_stays_and_may_still_become_ready():
    state = step(RolloutState(), a_model(A), a_fleet({A: 0}), 0.0).state
    failed = step(state, a_model(A), a_fleet({A: 0}), POLICY.progress_deadline_s + 1)
    assert failed.state.phase is Phase.FAILED
    assert A in failed.roles
    ready = step(failed.state, a_model(A), a_fleet({A: 1}), 9999.0)
    assert ready.weights == {A: 100}


def test_losing_all_canary_replicas_takes_its_traffic_and_the_step_is_held_anew():
    middle = canary_b_at_step(1)
    lost = step(middle.state, a_model(B), a_fleet({A: 1, B: 0}), 170.0)
    assert lost.weights == {A: 100, B: 0}
    back = step(lost.state, a_model(B), a_fleet({A: 1, B: 1}), 200.0)
    assert back.weights == {A: 75, B: 25}
    assert back.state.step_started_at == 200.0


def test_the_deadline_counts_from_when_the_canary_was_last_ready():
    at_first = canary_b_at_step(0)
    long_after = at_first.state.step_started_at + 10 * POLICY.progress_deadline_s
    patient = a_model(B, rollout=replace(POLICY, steps=(replace(POLICY.steps[0], hold_s=1e9),)))
    state = step(at_first.state, patient, a_fleet({A: 1, B: 1}), long_after - 1).state
    lost = step(state, patient, a_fleet({A: 1, B: 0}), long_after)
    assert lost.state.phase is Phase.STARTING
    assert lost.wake_at == long_after + POLICY.progress_deadline_s


@pytest.mark.parametrize(
    ("replicas", "ready", "weight"), [(4, 1, 25), (4, 2, 50), (3, 1, 33), (3, 2, 50), (3, 0, 0)]
)
def test_a_canary_that_lost_replicas_keeps_what_the_others_carry(replicas, ready, weight):
    last = canary_b_at_step(2)
    fleet = a_fleet({A: replicas, B: ready})
    assert step(last.state, a_model(B, replicas=replicas), fleet, 221.0).weights[B] == weight


def test_a_replaced_stable_drains_even_if_nothing_is_to_be_retained():
    eager = a_model(B, rollout=replace(POLICY, retain_stable_s=0.0))
    promoted = step(canary_b_at_step(2).state, eager, a_fleet({A: 1, B: 1}), 300.0)
    assert promoted.roles[A] is Role.RETIRED
    assert promoted.wake_at == 300.0 + DRAIN_S


def test_a_scale_up_in_mid_rollout_does_not_throw_the_traffic_back():
    middle = canary_b_at_step(1)
    grown = step(middle.state, a_model(B, replicas=4), a_fleet({A: 1, B: 1}), 165.0)
    assert grown.weights == {A: 75, B: 25}, "one ready replica of four carries 25 %"
    later = step(grown.state, a_model(B, replicas=4), a_fleet({A: 4, B: 1}), 400.0)
    assert later.weights == {A: 75, B: 25}, "but it does not advance before all are ready"


def test_a_stable_whose_template_is_lost_is_forgotten_and_the_spec_starts_afresh():
    decision = step(stable_a(), a_model(B), a_fleet(), 10.0)
    assert decision.state.stable is None
    assert decision.roles == {B: Role.CANARY}


def test_fewer_steps_in_mid_rollout_hold_the_last_one():
    last = canary_b_at_step(2)
    shorter = replace(POLICY, steps=POLICY.steps[:1])
    decision = step(last.state, a_model(B, rollout=shorter), a_fleet({A: 1, B: 1}), 221.0)
    assert decision.weights == {A: 95, B: 5}


def test_what_blocks_a_canary_is_said_while_it_waits_and_when_it_is_withdrawn():
    fleet = a_fleet({A: 1, B: 0})
    held = replace(fleet.revisions[B], blocked="exceeded quota")
    fleet = replace(fleet, revisions={**fleet.revisions, B: held})
    waiting = step(stable_a(), a_model(B), fleet, 0.0)
    assert waiting.state.message.endswith(": exceeded quota")
    failed = step(waiting.state, a_model(B), fleet, POLICY.progress_deadline_s)
    assert (failed.reason, failed.state.failed) == ("ProgressDeadlineExceeded", B)
    assert failed.state.message.endswith(": exceeded quota")
