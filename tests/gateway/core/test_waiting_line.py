import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pagelet_gateway.core.waiting_line import (
    FEW,
    MAX_RETRY_AFTER_S,
    MAX_WAITING,
    PATIENCE,
    WaitingLine,
)

LONG = 1e6


def served(line: WaitingLine, count: int, *, start: float = 0.0, pause_s: float = 1.0) -> list[str]:
    """Give so many places, one after another; returns whose they were."""
    given_to = []
    for number in range(count):
        place = line.first()
        assert place is not None
        line.give(place, start + number * pause_s)
        given_to.append(place.tenant)
    return given_to


def test_one_tenants_requests_keep_their_order():
    line = WaitingLine()
    places = [line.join("a", 1, LONG, 0.0) for _ in range(5)]
    for place in places:
        assert line.first() is place
        line.give(place, 1.0)
    assert len(line) == 0
    assert line.first() is None


@given(st.integers(1, 5), st.integers(1, 5), st.integers(20, 60))
def test_tenants_get_places_by_weight_however_many_they_ask_for(one, two, count):
    line = WaitingLine()
    for _ in range(count * 5):
        line.join("flood", one, LONG, 0.0)
    for _ in range(count):
        line.join("calm", two, LONG, 0.0)
    rounds = count // two
    given_to = served(line, rounds * (one + two))
    assert abs(given_to.count("calm") - rounds * two) <= two + 1


def test_who_comes_back_after_each_place_gets_no_more_than_who_stays_in_line():
    line = WaitingLine()
    for _ in range(100):
        line.join("flood", 1, LONG, 0.0)
    given_to = []
    for number in range(40):
        if number == 0 or given_to[-1] == "one by one":
            line.join("one by one", 1, LONG, 0.0)
        given_to += served(line, 1)
    assert 19 <= given_to.count("one by one") <= 21


def test_who_was_away_has_saved_up_nothing():
    line = WaitingLine()
    for _ in range(200):
        line.join("always", 1, LONG, 0.0)
    served(line, 100)
    for _ in range(50):
        line.join("late", 1, LONG, 0.0)
    assert 9 <= served(line, 20).count("late") <= 11


def test_who_would_wait_too_long_is_told_so_with_a_time_that_holds():
    line = WaitingLine()
    for _ in range(60):
        assert line.join("a", 1, LONG, 0.0)
    served(line, 40, pause_s=0.5)  # 20 are left, two a second: the next waits 10 s
    assert line.join("a", 1, 9.0 / PATIENCE, 20.0) is None
    assert line.join("a", 1, 12.0 / PATIENCE, 20.0) is not None
    assert line.retry_after_s(20.0) in (11, 12)
    assert line.join("b", 1, 3.0 / PATIENCE, 20.0) is not None, "it waits for its own turns only"


def test_little_foretells_nothing():
    line = WaitingLine()
    for _ in range(2 * FEW):
        line.join("a", 1, LONG, 0.0)
    served(line, FEW - 1, pause_s=100.0)
    assert line.join("a", 1, 1.0, 800.0) is not None
    assert line.retry_after_s(800.0) == 1
    served(line, 1, start=800.0)
    assert line.join("a", 1, 1.0, 801.0) is None
    assert line.retry_after_s(801.0) == MAX_RETRY_AFTER_S


def test_an_empty_line_has_no_pace():
    line = WaitingLine()
    for _ in range(FEW):
        line.join("a", 1, LONG, 0.0)
    served(line, FEW, pause_s=100.0)
    assert line.join("a", 1, 1.0, 5000.0) is not None


def test_patience_is_a_part_of_what_is_left():
    line = WaitingLine()
    place = line.join("a", 1, 10.0, 100.0)
    assert place is not None
    assert place.until == pytest.approx(100.0 + PATIENCE * 10.0)
    assert line.join("a", 1, 0.0, 100.0) is None
    assert line.join("a", 1, -1.0, 100.0) is None


def test_the_line_has_an_end():
    line = WaitingLine()
    places = [line.join("a", 1, LONG, 0.0) for _ in range(MAX_WAITING)]
    assert all(places)
    assert line.join("b", 1, LONG, 0.0) is None


class Line(RuleBasedStateMachine):
    """Joining, being served and leaving in any order loses and invents nobody."""

    def __init__(self):
        super().__init__()
        self.line = WaitingLine()
        self.waiting = []
        self.now = 0.0

    @rule(tenant=st.sampled_from("abc"), weight=st.integers(1, 4), has_s=st.floats(-1, 100))
    def join(self, tenant, weight, has_s):
        place = self.line.join(tenant, weight, has_s, self.now)
        if place is not None:
            self.waiting.append(place)

    @rule(step=st.floats(0, 30))
    def wait(self, step):
        self.now += step

    @precondition(lambda self: self.waiting)
    @rule()
    def serve(self):
        place = self.line.first()
        same = [other for other in self.waiting if other.tenant == place.tenant]
        assert place is same[0]
        self.line.give(place, self.now)
        self.waiting.remove(place)

    @precondition(lambda self: self.waiting)
    @rule(index=st.integers(0, 100))
    def leave(self, index):
        self.line.leave(self.waiting.pop(index % len(self.waiting)))

    @invariant()
    def is_whole(self):
        assert len(self.line) == len(self.waiting)
        assert (self.line.first() is None) == (not self.waiting)
        assert 1 <= self.line.retry_after_s(self.now) <= MAX_RETRY_AFTER_S
        assert self.waiting or not self.line._lanes, "tenants are forgotten"


TestLine = Line.TestCase
