"""Where a canary's replicas find room: never at the cost of what the live traffic needs."""

from dataclasses import replace
from math import ceil

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from operator_models import POLICY, a_fleet, a_model
from pagelet_operator.core.capacity import (
    Room,
    affordable,
    alike,
    alike_share,
    carriers,
    choose,
    demand,
    divide,
)
from pagelet_operator.core.model import Capacity, Fleet
from pagelet_operator.core.rollout import DRAIN_S, Observations, Phase, RolloutState, step

A, B = "chat-a", "chat-b"
AUTO, SURGE, BORROW, IN_PLACE = Capacity
counts = st.integers(1, 50)
percents = st.integers(0, 100)


@given(st.sampled_from([BORROW, IN_PLACE]), counts, st.integers(0, 50), percents, percents)
def test_what_is_lent_is_never_more_than_the_traffic_can_spare(mode, replicas, needed, now, want):
    demanded = min(needed, replicas)
    room = divide(mode, replicas, demanded, min(now, want), want)
    assert room.stable + room.canary == replicas
    assert room.stable >= ceil(demanded * max(0, 99 - min(now, want)) / 100)
    if mode is BORROW and min(now, want) < 100:
        assert room.stable >= 1


@given(percents, percents, counts)
def test_more_traffic_never_needs_fewer_replicas(one, other, demanded):
    low, high = sorted((one, other))
    assert carriers(low, demanded) <= carriers(high, demanded)
    assert 100 * carriers(high, demanded) >= demanded * high, "each carries no more than it can"


@given(st.integers(0, 60), st.integers(0, 50))
def test_what_ready_replicas_can_afford_they_can_carry(ready, demanded):
    weight = affordable(ready, demanded)
    assert carriers(weight, demanded) <= max(ready, 1 if weight else 0)


@given(counts, st.integers(0, 49))
def test_lending_always_arrives_where_one_replica_can_be_spared(replicas, needed):
    """Traffic follows replicas and replicas follow traffic until the canary has everything."""
    assume(replicas > 1)
    demanded = min(needed, replicas - 1)
    weight = 0
    for _ in range(4 * replicas):
        room = divide(BORROW, replicas, demanded, weight, 100)
        weight = max(weight, affordable(room.canary, demanded))
    assert weight == 100


@given(st.integers(1, 99), counts)
def test_beside_stable_no_replica_of_the_canary_has_more_to_do_than_one_of_stables(
    weight, replicas
):
    canary = alike(weight, replicas)
    assert weight / canary <= (100 - weight) / replicas or canary == replicas
    assert canary == 1 or weight / (canary - 1) > (100 - weight) / replicas, "one is idle"
    assert divide(SURGE, replicas, replicas, 0, weight) == Room(replicas, canary, replicas)


@given(st.integers(0, 60), counts)
def test_a_share_that_ready_replicas_may_have_needs_no_more_of_them(ready, replicas):
    share = alike_share(ready, replicas)
    assert alike(share, replicas) <= max(1, ready)
    assert carriers(share, replicas) <= ready
    assert share == (100 if ready >= replicas else min(share, 49))


@pytest.mark.parametrize(
    ("asked", "before", "replicas", "needed", "short", "mode"),
    [
        (AUTO, None, 4, 3, False, SURGE),
        (AUTO, None, 4, 3, True, BORROW),
        (AUTO, None, 4, 4, True, SURGE),
        (AUTO, None, 4, None, True, SURGE),
        (AUTO, None, 1, 1, True, SURGE),
        (AUTO, None, 1, 0, True, IN_PLACE),
        (AUTO, BORROW, 4, 4, False, BORROW),
        (AUTO, IN_PLACE, 1, 1, False, IN_PLACE),
        (SURGE, BORROW, 4, 1, True, SURGE),
        (BORROW, None, 4, None, False, BORROW),
        (IN_PLACE, None, 1, None, False, IN_PLACE),
    ],
)
def test_auto_leaves_surge_only_for_what_cannot_start_and_can_be_spared(
    asked, before, replicas, needed, short, mode
):
    assert choose(asked, before, replicas, needed, short) is mode


def test_without_a_measure_the_one_who_asks_to_borrow_says_that_one_can_be_spared():
    assert demand(BORROW, 4, None) == 3
    assert demand(BORROW, 4, 9) == 4
    assert demand(SURGE, 4, 1) == 4


def a_short_fleet(ready):
    fleet = a_fleet(ready)
    found = replace(fleet.revisions[B], short="0/3 nodes: 3 Insufficient nvidia.com/gpu")
    return Fleet({**fleet.revisions, B: found})


STABLE = RolloutState(phase=Phase.STABLE, stable=A)


def test_a_canary_without_room_borrows_step_by_step_until_it_has_everything():
    model, seen = a_model(B, replicas=4), Observations(needed=3)
    decision = step(STABLE, model, a_short_fleet({A: 4, B: 0}), 0.0, seen)
    assert decision.state.capacity is BORROW
    assert decision.replicas == {A: 3, B: 1}
    planned, now, weights = decision.replicas, 0.0, []
    while decision.state.canary:
        now += 20.0
        fleet = a_fleet({A: planned.get(A, 0), B: planned[B]})
        decision = step(decision.state, model, fleet, now, seen)
        planned = {**planned, **decision.replicas}
        weights.append(decision.weights[B])
        assert weights[-1] <= affordable(fleet.ready(B), 3), "traffic before capacity"
        assert sum(decision.replicas.values()) <= 4
        assert now < 1000, weights
    assert weights == sorted(weights)
    assert {5, 25, 50, 100} <= set(weights)
    assert decision.state.stable == B
    (gone,) = decision.state.retained
    assert not gone.proven, "nothing is left to go back to"
    assert gone.until == now + DRAIN_S


def test_the_blocker_is_named_and_the_deadline_withdraws_the_canary():
    model, fleet = a_model(B, replicas=2), a_short_fleet({A: 2, B: 0})
    waiting = step(STABLE, model, fleet, 0.0, Observations(needed=2))
    assert (waiting.reason, waiting.replicas[A]) == ("WaitingForCapacity", 2)
    assert "Insufficient nvidia.com/gpu" in waiting.state.message
    assert "live traffic needs 2 of 2" in waiting.state.message
    late = step(waiting.state, model, fleet, POLICY.progress_deadline_s, Observations(needed=2))
    assert (late.reason, late.weights) == ("ProgressDeadlineExceeded", {A: 100})


def test_the_only_replica_makes_room_only_when_no_request_needs_it():
    model, fleet = a_model(B), a_short_fleet({A: 1, B: 0})
    busy = step(STABLE, model, fleet, 0.0, Observations(needed=1))
    assert busy.replicas[A] == 1
    idle = step(busy.state, model, fleet, 1.0, Observations(needed=0))
    assert idle.replicas == {A: 0, B: 1}
    # A request that comes meanwhile does not bring the old one back: that takes as long.
    gone = step(idle.state, model, a_short_fleet({A: 0, B: 0}), 2.0, Observations(needed=1))
    assert gone.replicas == {A: 0, B: 1}
    served = step(gone.state, model, a_fleet({A: 0, B: 1}), 3.0, Observations(needed=1))
    assert served.weights == {A: 0, B: 100}


def test_the_only_replica_that_still_serves_stays_while_a_request_needs_it():
    lent = RolloutState(phase=Phase.STARTING, stable=A, canary=B, capacity=IN_PLACE)
    model = a_model(B, rollout=replace(POLICY, capacity=IN_PLACE))
    for needed, counts in ((1, {A: 1, B: 0}), (0, {A: 0, B: 1})):
        seen = Observations(needed=needed)
        assert step(lent, model, a_fleet({A: 1, B: 0}), 0.0, seen).replicas == counts


def test_what_is_only_kept_warm_makes_room_first():
    fleet = a_short_fleet({A: 2, B: 0, "chat-c": 2})
    promoted = RolloutState(phase=Phase.PROMOTING, stable="chat-c", canary=A, weight=100)
    model = a_model(A, replicas=2)
    warm = step(promoted, model, fleet, 0.0).state
    assert warm.retained
    tried = step(warm, a_model(B, replicas=2), fleet, 10.0, Observations(needed=1))
    assert tried.state.capacity is None, "nothing is lent before that"
    assert tried.state.retained[0].until == 15.0
    later = step(tried.state, a_model(B, replicas=2), fleet, 15.0, Observations(needed=1))
    assert later.state.capacity is BORROW


def test_the_next_canary_starts_beside_the_stable_again():
    model, seen = a_model(B, replicas=2), Observations(needed=1)
    lent = step(STABLE, model, a_short_fleet({A: 2, B: 0}), 0.0, seen)
    failed = step(lent.state, model, a_fleet({A: 1}, chat_b="out of memory"), 5.0, seen)
    assert failed.state.capacity is None
    other = step(failed.state, a_model("chat-c", replicas=2), a_fleet({A: 2}), 20.0, seen)
    assert other.replicas == {A: 2, "chat-c": 1}


def test_withdrawing_gives_back_what_was_lent():
    model, seen = a_model(B, replicas=2), Observations(needed=1)
    lent = step(STABLE, model, a_short_fleet({A: 2, B: 0}), 0.0, seen)
    assert lent.replicas == {A: 1, B: 1}
    failed = step(lent.state, model, a_fleet({A: 1}, chat_b="out of memory"), 5.0, seen)
    assert failed.replicas == {A: 2}
