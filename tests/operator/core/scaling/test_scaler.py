"""What the scaler decides, case by case, and what it says about it."""

from dataclasses import replace

import pytest

from pagelet_operator.core.scaling import (
    Change,
    ScalerState,
    ScalingPolicy,
    Seen,
    Targets,
    decide,
)
from scaling_fluid import Fluid

TARGETS = Targets(ttft_p99_s=1.0, itl_p99_s=0.05)
POLICY = ScalingPolicy(min_replicas=1, max_replicas=8, targets=TARGETS)
NOW = 100_000.0
CALM = Seen(ready=2, asked=2, at=NOW, answered=2, running=20.0, served_per_s=2.0, in_flight=20.0)


def looked(readings, state=None, policy=POLICY):
    """Decide on readings, one interval apart and the last at NOW; return all decisions."""
    state, decisions = state or ScalerState(), []
    for index, seen in enumerate(readings):
        now = NOW - (len(readings) - 1 - index) * policy.interval_s
        decisions.append(decide(state, policy, replace(seen, at=now), now))
        state = decisions[-1].state
    return decisions


def test_what_exists_is_adopted_at_first():
    assert looked([replace(CALM, asked=5, ready=5, answered=5)])[0].replicas == 5


def test_more_load_than_the_replicas_carry_starts_more_once_it_was_read_twice():
    busy = replace(CALM, running=100.0)
    once, twice = looked([CALM, busy])[-1], looked([CALM, busy, busy])[-1]
    assert (once.replicas, twice.replicas) == (2, 4)
    assert twice.reason == "LoadGrows"
    assert "100 sequences at once expected in 135 s" in twice.message
    assert twice.inputs["running"] == 100.0


def test_replicas_that_start_are_part_of_the_answer():
    busy = replace(CALM, running=100.0)
    assert looked([busy] * 12)[-1].replicas == looked([busy] * 2)[-1].replicas == 4


def test_a_missed_latency_target_starts_one_more_where_the_load_explains_nothing():
    late = replace(CALM, ttft_p99_s=1.5)
    assert looked([CALM, late])[-1].replicas == 2
    decision = looked([CALM, late, late])[-1]
    assert (decision.replicas, decision.reason) == (3, "TtftAboveTarget")


def test_a_missed_target_starts_no_more_while_replicas_are_starting():
    late = replace(CALM, itl_p99_s=0.09)
    assert looked([late] * 20)[-1].replicas == 3


def test_a_full_cache_starts_more():
    full = replace(CALM, kv_usage=0.95)
    decision = looked([full, full])[-1]
    assert (decision.replicas, decision.reason) == (3, "KvCacheFull")


def test_tokens_at_the_measured_capacity_start_more():
    queued = replace(CALM, waiting=2.0, tokens_per_s=1000.0)
    decision = looked([queued, replace(queued, waiting=0.0)])[-1]
    assert (decision.replicas, decision.reason) == (3, "TokensAtCapacity")


def test_few_huge_prompts_are_named_and_start_nothing():
    late = replace(CALM, ttft_p99_s=1.5, long_prompts=True)
    decision = looked([late, late])[-1]
    assert (decision.replicas, decision.reason) == (2, "RequestShape")


def test_many_huge_prompts_start_more():
    late = replace(CALM, running=60.0, ttft_p99_s=1.5, long_prompts=True)
    assert looked([late, late])[-1].replicas == 3


def test_the_maximum_is_kept_and_said():
    decision = looked([replace(CALM, running=900.0, ready=8, asked=8, answered=8)] * 2)[-1]
    assert (decision.replicas, decision.reason) == (8, "AtMaximum")
    assert "scaling.maxReplicas" in decision.message


def test_a_lower_maximum_ends_replicas_at_once():
    state = ScalerState(replicas=9)
    assert decide(state, POLICY, CALM, NOW).replicas == 8


def test_a_higher_minimum_counts_at_once_and_without_figures():
    policy = replace(POLICY, min_replicas=3)
    decision = decide(ScalerState(replicas=2), policy, Seen(ready=2, asked=2), NOW)
    assert (decision.replicas, decision.reason) == (3, "AtMinimum")


def test_rising_keeps_its_rate():
    flood = replace(CALM, ready=6, asked=6, answered=6, running=384.0, waiting=900.0)
    policy = replace(POLICY, max_replicas=100, up_percent_per_minute=50)
    decisions = looked([flood] * 9, policy=policy)
    assert [d.replicas for d in decisions[1:5]] == [10] * 4
    assert decisions[5].replicas == 15  # A minute later half of ten may come.
    assert "in steps" in decisions[1].message


WINDOW = int(POLICY.down_window_s / POLICY.interval_s) + 1
LOW = replace(CALM, ready=4, asked=4, answered=4)


def test_a_whole_window_of_low_signals_gives_one_replica_back():
    decisions = looked([LOW] * WINDOW)
    assert {d.replicas for d in decisions[:-1]} == {4}
    assert (decisions[-1].replicas, decisions[-1].reason) == (3, "LoadFell")
    assert decisions[-2].reason == "WindowNotFull"


def test_falling_keeps_its_rate():
    fleet = Fluid(replace(POLICY, max_replicas=40), ready=40)
    for _ in range(WINDOW + 4):
        fleet.look(10.0)
    assert fleet.asked[-1] == 33  # A tenth, then of the 36 left three.


@pytest.mark.parametrize(
    "change",
    [
        {"ttft_p99_s": 0.9}, {"itl_p99_s": 0.049}, {"waiting": 5.0}, {"answered": 3},
        {"in_flight": 90.0},
    ],
)  # fmt: skip
def test_one_reading_that_is_not_low_keeps_all_replicas(change):
    readings = [LOW] * WINDOW
    readings[7] = replace(LOW, **change)
    assert looked(readings)[-1].replicas == 4


@pytest.mark.parametrize("at", [None, 5.0])
def test_figures_that_are_old_or_absent_keep_all_replicas(at):
    state = looked([LOW] * (WINDOW - 1))[-1].state
    decision = decide(state, POLICY, replace(LOW, at=at), NOW + POLICY.interval_s)
    assert (decision.replicas, decision.reason) == (4, "DataNotUsable")


def test_a_gap_in_the_readings_makes_the_window_begin_anew():
    state = looked([LOW] * (WINDOW - 3))[-1].state
    now = NOW + 300.0
    for _ in range(3):
        decision = decide(state, POLICY, replace(LOW, at=now), now)
        state, now = decision.state, now + POLICY.interval_s
    assert (decision.replicas, decision.reason) == (4, "WindowNotFull")


def test_nothing_is_given_back_during_a_rollout():
    decision = looked([replace(LOW, settled=False)] * (WINDOW + 9))[-1]
    assert (decision.replicas, decision.reason) == (4, "RolloutInProgress")


def test_nothing_is_given_back_while_a_replica_is_missing():
    decision = looked([replace(LOW, ready=3, answered=3)] * (WINDOW + 9), ScalerState(replicas=4))
    assert (decision[-1].replicas, decision[-1].reason) == (4, "WaitingForReplicas")


def test_what_was_needed_again_is_kept_for_an_hour():
    state = ScalerState(replicas=4, rising=False)
    up = looked([replace(LOW, running=200.0)] * 2, state)[-1].state
    assert (up.rising, up.reversed_up_at) == (True, NOW)
    fleet = replace(LOW, ready=up.replicas, asked=up.replicas, answered=up.replicas)
    now, seen = NOW, []
    for _ in range(250):
        now += POLICY.interval_s
        decision = decide(up, POLICY, replace(fleet, at=now), now)
        up = decision.state
        seen.append((now - NOW, decision.replicas, decision.reason))
    falls = [at for at, replicas, _ in seen if replicas < fleet.ready]
    assert min(falls) == POLICY.settle_s
    assert "Settling" in {reason for *_, reason in seen}


def test_an_idle_model_ends_its_last_replica_where_that_is_asked_for():
    policy = replace(POLICY, idle_to_zero_after_s=120.0)
    idle = Seen(ready=1, asked=1, answered=1)
    decisions = looked([idle] * 9, policy=policy)
    assert [d.replicas for d in decisions] == [1] * 8 + [0]
    assert decisions[-1].reason == "Idle"
    assert looked([idle] * 9)[-1].replicas == 1


def test_one_request_or_a_gap_ends_the_idleness():
    policy = replace(POLICY, idle_to_zero_after_s=120.0)
    idle = Seen(ready=1, asked=1, answered=1)
    for odd in (
        replace(idle, in_flight=0.1),
        replace(idle, answered=0),
        replace(idle, running=-1.0),
    ):
        assert looked([*[idle] * 4, odd, *[idle] * 8], policy=policy)[-1].replicas == 1
    state = looked([idle] * 4, policy=policy)[-1].state
    assert decide(state, policy, replace(idle, at=NOW + 900), NOW + 900).replicas == 1


def test_held_requests_wake_a_model_that_has_no_replica():
    policy = replace(POLICY, min_replicas=2, idle_to_zero_after_s=120.0)
    state = ScalerState(replicas=0)
    assert decide(state, policy, Seen(ready=0), NOW).replicas == 0
    decision = decide(state, policy, Seen(ready=0, held=3), NOW)
    assert (decision.replicas, decision.reason) == (2, "RequestsWait")


def test_a_cold_start_is_measured_and_reckoned_with():
    fleet = Fluid(POLICY, cold_start_s=240.0)
    for _ in range(40):
        fleet.look(60.0)
    assert fleet.state.cold_start_s == 240.0
    assert fleet.state.reason == "AtTarget"


def test_missed_targets_with_all_replicas_there_lower_what_one_carries():
    late = replace(CALM, running=50.0, ttft_p99_s=1.5)
    state = looked([late, late])[-1].state
    assert state.capacity == pytest.approx(22.5)  # 25 on each were too many.


def test_busy_replicas_within_their_targets_raise_what_one_carries():
    busy = replace(CALM, running=56.0, ttft_p99_s=0.1, itl_p99_s=0.01)
    assert looked([busy] * 3)[-1].state.capacity == pytest.approx(32 * 1.02**3)


def test_clocks_that_were_set_back_leave_no_sample_of_the_future():
    state = looked([LOW] * 5)[-1].state
    again = decide(state, POLICY, replace(LOW, at=NOW - 40.0), NOW - 40.0).state
    assert max(sample.at for sample in again.samples) <= NOW - 40.0


@pytest.mark.parametrize(("low", "high"), [(3, 2), (-1, 2)])
def test_bounds_without_a_number_between_are_refused(low, high):
    with pytest.raises(ValueError, match="leave no choice"):
        ScalingPolicy(min_replicas=low, max_replicas=high)


def test_changes_are_remembered_for_a_minute():
    state = ScalerState(replicas=4, changes=(Change(NOW - 60.0, 2, 4), Change(NOW - 59.0, 4, 5)))
    assert decide(state, POLICY, LOW, NOW).state.changes == (Change(NOW - 59.0, 4, 5),)


def test_looks_between_two_readings_decide_nothing_new():
    late = replace(CALM, ttft_p99_s=1.5)
    state = looked([CALM, late])[-1].state
    for waited_s in (0.25, 3.0, 14.0):
        decision = decide(state, POLICY, replace(late, at=NOW + waited_s), NOW + waited_s)
        assert (decision.replicas, decision.wake_at) == (2, NOW + POLICY.interval_s)
        state = decision.state
    assert decide(state, POLICY, replace(late, at=NOW + 15.0), NOW + 15.0).replicas == 3


def test_a_model_without_a_ready_replica_says_so():
    decision = decide(ScalerState(replicas=2), POLICY, Seen(ready=0, asked=2), NOW)
    assert (decision.replicas, decision.reason) == (2, "NoReplicaReady")
