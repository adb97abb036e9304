import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pagelet_gateway.core.breaker import (
    JITTER,
    MAX_OPEN_S,
    MIN_VOLUME,
    WINDOW_S,
    Breaker,
    State,
    Window,
)
from pagelet_gateway.core.route_table import BreakerPolicy

POLICY = BreakerPolicy(consecutive_errors=3, error_rate=50, open_for_s=10.0)
FAR = 1e9


def broken(now: float = 0.0, policy: BreakerPolicy = POLICY) -> Breaker:
    breaker = Breaker(policy, "seed")
    breaker.trip(now)
    return breaker


def fails(breaker: Breaker, now: float, times: int = 1) -> None:
    for _ in range(times):
        breaker.fail(breaker.enter(now, FAR), now)


def succeeds(breaker: Breaker, now: float, times: int = 1) -> None:
    for _ in range(times):
        breaker.succeed(breaker.enter(now, FAR), now)


def open_s(breaker: Breaker, now: float) -> float:
    return breaker.opens_in_s(now)


def test_failures_in_a_row_open_it_and_a_success_between_does_not():
    breaker = Breaker(POLICY, "seed")
    fails(breaker, 0.0, 2)
    succeeds(breaker, 0.0)
    fails(breaker, 0.0, 2)
    assert breaker.state(0.0) is State.CLOSED
    fails(breaker, 0.0)
    assert breaker.state(0.0) is State.OPEN
    assert not breaker.admits(9.9)


def test_a_rate_opens_it_once_there_are_enough_requests_to_tell():
    policy = BreakerPolicy(consecutive_errors=1000, error_rate=50, open_for_s=10.0)
    breaker = Breaker(policy, "seed")
    succeeds(breaker, 0.0, MIN_VOLUME // 2)
    fails(breaker, 0.0, MIN_VOLUME // 2 - 1)
    assert breaker.state(0.0) is State.CLOSED
    fails(breaker, 0.0)
    assert breaker.state(0.0) is State.OPEN


def test_failures_that_left_the_window_do_not_count():
    policy = BreakerPolicy(consecutive_errors=1000, error_rate=50, open_for_s=10.0)
    breaker = Breaker(policy, "seed")
    fails(breaker, 0.0, MIN_VOLUME - 1)
    fails(breaker, WINDOW_S + 2.0, MIN_VOLUME - 1)
    assert breaker.state(WINDOW_S + 2.0) is State.CLOSED
    fails(breaker, WINDOW_S + 2.0)
    assert breaker.state(WINDOW_S + 2.0) is State.OPEN


@given(st.integers(1, 100), st.integers(1, 3))
def test_failures_in_common_count_once_for_all_that_ran_at_the_same_time(at_once, rounds):
    breaker = Breaker(POLICY, "seed")
    for number in range(rounds):
        tickets = [breaker.enter(number * 60.0, FAR) for _ in range(at_once)]
        for index, ticket in enumerate(tickets):
            breaker.fail(ticket, number * 60.0 + 50.0 + index / 100, cause="late")
    is_open = rounds >= POLICY.consecutive_errors
    last = (rounds - 1) * 60.0 + 51.0
    assert breaker.state(last) is (State.OPEN if is_open else State.CLOSED)


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0.0, 5.0)), min_size=1, max_size=60),
    st.integers(1, 8),
)
def test_what_is_under_way_together_fails_once_for_each_cause(ends, limit):
    breaker = Breaker(BreakerPolicy(consecutive_errors=limit, error_rate=100), "seed")
    tickets = [(breaker.enter(0.0, FAR), *end) for end in ends]
    for ticket, cause, at in sorted(tickets, key=lambda item: item[2]):
        breaker.fail(ticket, at, cause=cause)
    num_causes = len({cause for cause, _ in ends})
    assert breaker.state(5.0) is (State.OPEN if num_causes >= limit else State.CLOSED)


def test_what_comes_after_a_failure_that_counted_counts_anew():
    breaker = Breaker(POLICY, "seed")
    for at in (0.0, 1.0, 2.0):
        assert breaker.state(at) is State.CLOSED
        breaker.fail(breaker.enter(at, FAR), at + 0.5, cause="a")
    assert breaker.state(2.5) is State.OPEN


def test_a_probe_that_fails_in_common_opens_it_again():
    breaker = Breaker(POLICY, "seed")
    breaker.fail(breaker.enter(0.0, FAR), 1.0, cause="late")
    breaker.trip(1.0)
    at = 1.0 + open_s(breaker, 1.0)
    breaker.fail(breaker.enter(at, FAR), at, cause="late")
    assert breaker.state(at) is State.OPEN


def test_one_probe_at_a_time_and_its_answer_closes():
    breaker = broken()
    until = open_s(breaker, 0.0)
    assert not breaker.admits(until - 1e-6)
    probe = breaker.enter(until, until + 5.0)
    assert probe.is_probe
    assert not breaker.admits(until + 4.9)
    assert not breaker.enter(until + 1.0, FAR).is_probe
    breaker.answered(probe, until + 2.0)
    assert breaker.state(until + 2.0) is State.CLOSED


def test_a_probe_that_never_ends_frees_its_place_at_its_deadline():
    breaker = broken()
    until = open_s(breaker, 0.0)
    breaker.enter(until, until + 5.0)
    assert breaker.opens_in_s(until + 1.0) == pytest.approx(4.0)
    assert breaker.is_probe_due(until + 5.0)


def test_a_probe_without_a_verdict_frees_its_place_and_only_its_own():
    breaker = broken()
    until = open_s(breaker, 0.0)
    first = breaker.enter(until, until + 1.0)
    second = breaker.enter(until + 1.0, FAR)
    breaker.release(first)
    assert not breaker.admits(until + 2.0)
    breaker.release(second)
    assert breaker.is_probe_due(until + 2.0)


def test_a_probe_that_fails_doubles_the_time_up_to_a_limit_and_a_quiet_time_starts_over():
    breaker, now, spans = broken(), 0.0, []
    for _ in range(8):
        spans.append(open_s(breaker, now))
        now += spans[-1]
        breaker.fail(breaker.enter(now, FAR), now)
    for index, span in enumerate(spans):
        least = min(MAX_OPEN_S, 10.0 * 2**index)
        assert least <= span <= min(MAX_OPEN_S, least * (1 + JITTER))
    now += open_s(breaker, now)
    succeeds(breaker, now)
    fails(breaker, now + 1.0, 3)
    assert open_s(breaker, now + 1.0) == MAX_OPEN_S  # again at once
    now += 1.0 + MAX_OPEN_S
    succeeds(breaker, now)
    fails(breaker, now + MAX_OPEN_S, 3)
    assert open_s(breaker, now + MAX_OPEN_S) <= 10.0 * (1 + JITTER)


def test_open_times_are_jittered_by_the_seed_alone():
    spans = {}
    for seed in "abcdef":
        breaker = Breaker(POLICY, seed)
        breaker.trip(0.0)
        spans[seed] = open_s(breaker, 0.0)
    assert len(set(spans.values())) == len(spans)
    again = Breaker(POLICY, "a")
    again.trip(0.0)
    assert open_s(again, 0.0) == spans["a"]


def test_a_policy_that_asks_for_more_than_the_limit_gets_it():
    breaker = broken(policy=BreakerPolicy(open_for_s=900.0))
    assert open_s(breaker, 0.0) == 900.0


def test_what_was_sent_before_the_opening_says_nothing():
    breaker = Breaker(POLICY, "seed")
    old = [breaker.enter(0.0, FAR) for _ in range(4)]
    fails(breaker, 0.0, 3)
    until = open_s(breaker, 0.0)
    breaker.succeed(old[0], 1.0)
    assert breaker.state(1.0) is State.OPEN
    breaker.fail(old[1], 1.0)
    assert open_s(breaker, 0.0) == until
    succeeds(breaker, until)
    for ticket in old[2:]:
        breaker.fail(ticket, until)
    fails(breaker, until, 2)
    assert breaker.state(until) is State.CLOSED


def test_an_answer_to_what_entered_for_want_of_another_way_closes_and_its_failure_does_nothing():
    breaker = broken()
    before = open_s(breaker, 0.0)
    breaker.fail(breaker.enter(1.0, FAR), 1.0)
    assert open_s(breaker, 0.0) == before
    breaker.answered(breaker.enter(1.0, FAR), 1.0)
    assert breaker.state(1.0) is State.CLOSED


def test_first_bytes_do_not_end_a_row_of_answers_that_broke_off():
    breaker = Breaker(POLICY, "seed")
    for _ in range(3):
        ticket = breaker.enter(0.0, FAR)
        breaker.answered(ticket, 0.0)
        breaker.fail(ticket, 0.0)
    assert breaker.state(0.0) is State.OPEN


@given(st.lists(st.tuples(st.floats(0, 40), st.booleans()), max_size=80))
def test_the_window_agrees_with_a_plain_list(history):
    window, events, now = Window(), [], 0.0
    for step, failed in history:
        now += step / 10
        window.add(now, failed=failed)
        events.append((now, failed))
        recent = [bad for at, bad in events if int(at) > now - WINDOW_S - 1]
        share = window.failed_percent(now)
        if len(recent) < MIN_VOLUME:
            assert share is None
        else:
            assert share == pytest.approx(100 * sum(recent) / len(recent))


class Circuit(RuleBasedStateMachine):
    """Any order of requests, verdicts and time, the clock stepping back now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(POLICY, "seed")
        self.now = 100.0
        self.flying = []
        self.probes = {}
        self.opened = None

    @rule(step=st.floats(-5, 40))
    def wait(self, step):
        self.now += step

    @rule(lasts_s=st.floats(0.1, 30))
    def enter(self, lasts_s):
        admitted = self.breaker.admits(self.now)
        was_closed = self.breaker.state(self.now) is State.CLOSED
        ticket = self.breaker.enter(self.now, self.now + lasts_s)
        assert ticket.is_probe == (admitted and not was_closed)
        if ticket.is_probe:
            alive = [n for n, until in self.probes.items() if self.now < until]
            assert not alive, "two probes at once"
            self.probes[ticket.number] = self.now + lasts_s
        self.flying.append(ticket)

    def take(self, index):
        ticket = self.flying.pop(index % len(self.flying))
        self.probes.pop(ticket.number, None)
        return ticket

    @precondition(lambda self: self.flying)
    @rule(index=st.integers(0, 50), answered=st.booleans())
    def succeed(self, index, answered):
        ticket = self.take(index)
        current = ticket.era == self.breaker._era
        self.breaker.succeed(ticket, self.now)
        if current:
            assert self.breaker.state(self.now) is State.CLOSED
            self.opened = None
            self.probes.clear()

    @precondition(lambda self: self.flying)
    @rule(index=st.integers(0, 50))
    def fail(self, index):
        before = self.breaker._era
        self.breaker.fail(self.take(index), self.now)
        if self.breaker._era != before:
            self.opened = self.now
            self.probes.clear()

    @precondition(lambda self: self.flying)
    @rule(index=st.integers(0, 50))
    def release(self, index):
        self.breaker.release(self.take(index))

    @invariant()
    def open_for_its_time(self):
        if self.opened is not None and self.now < self.opened + POLICY.open_for_s:
            assert not self.breaker.admits(self.now)
        wait_s = self.breaker.opens_in_s(self.now)
        assert wait_s >= 0.0
        assert self.breaker.admits(self.now + wait_s + 1e-6)


Circuit.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestCircuit = Circuit.TestCase
