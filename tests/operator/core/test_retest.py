"""A load test of what serves is run again when it is needed, in nobody's way, and once."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.gates import Gate, GateKind, GateResult, GateRun, GateStatus
from pagelet_operator.core.lengths import NO_LENGTHS, Lengths
from pagelet_operator.core.performance import UNKNOWN, Performance
from pagelet_operator.core.quiet_hours import DAY_S, HOUR_S, MIN_GAP_S
from pagelet_operator.core.retest import (
    IDLE_S,
    MAX_HOURS,
    PAUSE_S,
    RETESTED,
    Sight,
    after,
    gate_of,
    has_room,
    is_wanted,
    last_test_at,
    plan,
    requests_per_hour,
)
from pagelet_operator.core.revalidation import Reason, Validation
from pagelet_operator.core.window import Window

NOW = 1_800_000_000.0
GATE = Gate(GateKind.LOAD_TEST, {"profile": "single"}, 60.0)
LIVE = Lengths(prompt=(1, 2), output=(3, 4))
CHANGED = Validation(Reason.MODEL, "tested a, serving b")
SHIFTED = Validation(Reason.TRAFFIC, "prompts are longer")


def sight(**changes):
    fields = {
        "stable": "chat-a", "validation": CHANGED, "is_settled": True, "gate": GATE, "room": True,
        "last_hour": 0, "live": LIVE,
    }  # fmt: skip
    return Sight(**{**fields, **changes})


sights = st.builds(
    sight,
    stable=st.sampled_from(["chat-a", "chat-b"]),
    validation=st.sampled_from(Reason).map(Validation),
    is_settled=st.booleans(),
    gate=st.sampled_from([GATE, None]),
    room=st.sampled_from([True, False, None]),
    last_hour=st.none() | st.integers(0, 1000),
    last_test_at=st.none() | st.floats(NOW - 2 * DAY_S, NOW),
)
memories = st.builds(
    Performance,
    revision=st.sampled_from([None, "chat-a", "chat-b"]),
    reason=st.none() | st.sampled_from(Reason),
    since=st.just(0.0) | st.floats(NOW - 2 * DAY_S, NOW),
    due_at=st.none() | st.floats(NOW - DAY_S, NOW + DAY_S),
    not_before=st.just(0.0) | st.floats(NOW - DAY_S, NOW + PAUSE_S),
    testing=st.booleans(),
    hours=st.lists(st.integers(0, 1000), max_size=MAX_HOURS).map(tuple),
    hour_ends_at=st.none() | st.floats(NOW - DAY_S, NOW + HOUR_S),
)


@pytest.mark.parametrize("reason", sorted(RETESTED))
def test_what_changed_is_tested_again_at_once_where_nobody_is_served(reason):
    found = plan(UNKNOWN, sight(validation=Validation(reason, "why")), NOW)
    assert (found.testing, found.since, found.reason, found.message) == (True, NOW, reason, "why")
    assert found.lengths == (LIVE if reason is Reason.TRAFFIC else NO_LENGTHS)


@given(memories, sights)
def test_a_test_begins_only_where_it_is_needed_asked_for_and_in_nobodys_way(before, seen):
    found = plan(before, seen, NOW)
    assert found.revision == seen.stable
    if found.testing:
        assert seen.validation.reason in RETESTED
        assert seen.gate is not None
        assert seen.is_settled
        assert seen.room is not False
    if found.testing and not (before.testing and before.revision == seen.stable):
        assert seen.room is True
        assert seen.last_test_at is None or seen.last_test_at + MIN_GAP_S <= NOW
        assert found.not_before <= NOW


@given(memories, sights)
def test_looking_twice_changes_nothing_more(before, seen):
    once = plan(before, seen, NOW)
    assert plan(once, seen, NOW) == once


@given(memories, sights)
def test_a_waiting_test_says_when_it_is_due_and_within_a_day_unless_users_need_the_room(
    before, seen
):
    found = plan(before, seen, NOW)
    waits = not found.testing and found.since and seen.gate is not None and seen.is_settled
    assert (found.due_at is not None) == bool(waits or found.testing) or before.testing
    if waits and found.due_at is not None and found.due_at > NOW:
        earliest = max(NOW, (seen.last_test_at or 0.0) + MIN_GAP_S)
        latest = max(earliest, found.since + DAY_S, found.not_before)
        assert found.due_at <= latest + HOUR_S, "a plan that was told may be kept for an hour"
    if waits and found.due_at is not None and found.due_at <= NOW:
        assert seen.room is not True


def test_a_busy_hour_waits_for_the_quiet_one_and_the_plan_is_kept():
    hours = (100,) * 10 + (10,) + (100,) * 12
    before = Performance(hours=hours, hour_ends_at=NOW + HOUR_S)
    busy = sight(last_hour=100)
    found = plan(before, busy, NOW)
    assert (found.testing, found.due_at) == (False, NOW + 11 * HOUR_S)
    for minutes in range(1, 50):
        later = plan(found, busy, NOW + 60.0 * minutes)
        assert (later.due_at, later.since) == (found.due_at, NOW)
    assert plan(found, replace(busy, last_hour=20), NOW + 60.0).testing


def test_a_test_nobody_has_room_for_waits_and_says_so():
    for room, words in ((False, "without one replica"), (None, "not known")):
        first = plan(UNKNOWN, sight(room=room), NOW)
        later = plan(first, sight(room=room), NOW + 600.0)
        assert (later.testing, later.due_at) == (False, NOW)
        assert words in later.note
    assert plan(later, sight(), NOW + 601.0).testing


def test_users_who_come_end_the_test_and_it_is_tried_later():
    begun = plan(UNKNOWN, sight(validation=SHIFTED), NOW)
    ended = plan(begun, sight(validation=SHIFTED, room=False), NOW + 5.0)
    assert (ended.testing, ended.due_at, ended.lengths) == (False, NOW + 5 + PAUSE_S, NO_LENGTHS)
    assert not plan(ended, sight(validation=SHIFTED), NOW + PAUSE_S).testing
    assert plan(ended, sight(validation=SHIFTED), NOW + 5 + PAUSE_S).testing


def test_a_running_test_keeps_the_lengths_it_began_with():
    begun = plan(UNKNOWN, sight(validation=SHIFTED), NOW)
    other = Lengths(prompt=(9, 9), output=(9, 9))
    assert plan(begun, sight(validation=SHIFTED, live=other, room=None), NOW + 5).lengths == LIVE


@pytest.mark.parametrize(
    ("change", "words"),
    [({"gate": None}, "rollout.gates.loadTest"), ({"is_settled": False}, "rollout to end")],
)
def test_what_stands_in_the_way_is_said(change, words):
    found = plan(plan(UNKNOWN, sight(), NOW), sight(**change), NOW + 1.0)
    assert not found.testing
    assert words in found.note


def test_the_message_is_told_once_for_a_reason_and_the_memory_is_of_one_revision():
    first = plan(UNKNOWN, sight(validation=SHIFTED, room=None), NOW)
    again = sight(validation=replace(SHIFTED, message="prompts are longer still"), room=None)
    assert plan(first, again, NOW + 1).message == SHIFTED.message
    other = plan(first, replace(again, stable="chat-b"), NOW + 1)
    assert (other.message, other.since) == ("prompts are longer still", NOW + 1)
    well = plan(first, replace(again, validation=Validation(Reason.VALIDATED)), NOW + 1)
    assert (well.since, well.due_at, well.note) == (0.0, None, "")


def test_hours_are_counted_once_each_and_a_day_with_a_gap_is_no_day():
    known = plan(UNKNOWN, sight(validation=Validation(Reason.VALIDATED), last_hour=7), NOW)
    for minute in range(1, 30 * 60):
        seen = sight(validation=Validation(Reason.VALIDATED), last_hour=minute)
        known = plan(known, seen, NOW + 60.0 * minute)
    assert known.hours == tuple(60 * hour for hour in range(30 - MAX_HOURS, 30))
    silent = plan(known, replace(seen, last_hour=None), NOW + 29.5 * HOUR_S)
    assert silent.hours == known.hours
    assert plan(known, seen, known.hour_ends_at + HOUR_S).hours == ()


@given(st.integers(0, 23), st.integers(0, 23), st.booleans())
def test_within_two_days_exactly_one_test_begins_and_never_in_the_busiest_hour(
    quiet_at, changed_at, passes
):
    def requests(hour):
        return 50 if hour % 24 == quiet_at else 500 + 20 * (hour % 24)

    known, began, ended_at = UNKNOWN, [], None
    for minute in range(0, 72 * 60, 5):
        now, hour = NOW + 60.0 * minute, minute // 60
        changed = hour >= 24 + changed_at and not (passes and ended_at)
        seen = sight(
            validation=CHANGED if changed else Validation(Reason.VALIDATED),
            last_hour=requests(hour),
            last_test_at=ended_at,
        )
        before, known = known, plan(known, seen, now)
        if known.testing and not before.testing:
            began.append(hour)
        elif before.testing and known.testing:
            result = GateResult(status=GateStatus.PASSED if passes else GateStatus.FAILED)
            known, ended_at = after(known, result), now
            assert not known.testing
    assert len(began) == 1 if passes else len(began) >= 1
    assert began[0] % 24 == quiet_at


def test_a_lone_replica_is_spared_only_if_nobody_is_there():
    idle = Window(since=0.0, until=IDLE_S)
    assert has_room({"chat-a": idle}, 1, 64) is True
    for busy in ({"requests": 1}, {"fallbacks": 1}, {"in_flight_sum": 1.0}):
        assert has_room({"chat-a": replace(idle, **busy)}, 1, 64) is False
        assert has_room({"chat-a": idle, "chat-b": replace(idle, **busy)}, 1, 64) is False
    assert has_room({"chat-a": idle}, 0, 64) is False


def test_of_several_replicas_one_is_spared_while_the_others_can_carry_the_load():
    light = Window(since=0.0, until=IDLE_S, requests=50, request_seconds=IDLE_S * 4)
    heavy = replace(light, request_seconds=IDLE_S * 60)
    assert has_room({"chat-a": light}, 2, 64) is True
    assert has_room({"chat-a": heavy}, 2, 64) is False
    assert has_room({"chat-a": heavy}, 4, 64) is True


def test_without_a_look_at_the_last_minutes_nothing_is_said():
    assert has_room({}, 1, 64) is None
    assert has_room({"chat-a": Window(since=0.0, until=IDLE_S / 3)}, 3, 64) is None
    assert requests_per_hour({}) is None
    assert requests_per_hour({"a": Window(since=0.0, until=60.0, requests=5)}) is None


def test_the_requests_of_an_hour_are_those_at_the_rate_seen():
    half = Window(since=0.0, until=HOUR_S / 2, requests=40, fallbacks=10)
    assert requests_per_hour({"a": half, "b": replace(half, requests=0, fallbacks=0)}) == 100


def test_users_lengths_become_settings_of_the_gate_and_make_another_key():
    asked = gate_of(GATE, Performance(lengths=LIVE))
    assert asked.settings == {
        "profile": "single",
        "lengths": {"prompt": [1, 2], "output": [3, 4]},
    }
    assert asked.key("chat-a", None) != GATE.key("chat-a", None)
    assert gate_of(GATE, UNKNOWN) == GATE


def test_a_test_that_erred_goes_on_and_one_that_ended_says_how():
    begun = plan(UNKNOWN, sight(), NOW)
    for going in (None, GateResult(status=GateStatus.ERROR), GateResult(status=GateStatus.RUNNING)):
        assert after(begun, going) == begun
    failed = after(begun, GateResult(status=GateStatus.FAILED, message="ttftP95 9 s"))
    assert (failed.testing, failed.note) == (False, "load test failed: ttftP95 9 s")


def test_the_last_test_is_the_newest_that_ended_of_this_revision():
    def ended(at, status=GateStatus.PASSED):
        return GateResult(status=status, finished_at=at)

    warm = Gate(GateKind.WARMUP, {}, 1.0)
    memory = {
        GATE.key("chat-a", None): ended(5.0),
        gate_of(GATE, Performance(lengths=LIVE)).key("chat-a", None): ended(7.0, GateStatus.FAILED),
        GATE.key("chat-b", None): ended(9.0),
        warm.key("chat-a", None): ended(9.0),
    }
    assert last_test_at(memory, "chat-a") == 7.0
    assert last_test_at(memory, "chat-c") is None


def test_only_the_load_test_of_what_serves_is_wanted_and_only_while_it_is_meant():
    run = GateRun(GATE.key("chat-a", None))
    meant = Performance(revision="chat-a", testing=True)
    assert is_wanted(run, "chat-a", meant)
    assert not is_wanted(run, "chat-b", meant)
    assert not is_wanted(run, "chat-a", replace(meant, testing=False))
    assert not is_wanted(GateRun(replace(run.key, kind=GateKind.WARMUP)), "chat-a", meant)
