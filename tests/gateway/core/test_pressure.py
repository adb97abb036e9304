import heapq
import itertools
import math
import random
from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.pressure import (
    FLOOR,
    LATE,
    MAX_AGE_S,
    RELEASE_S,
    REST_S,
    SAMPLE,
    SLOW,
    Pressure,
    Sample,
    kind_of,
)

KIND = kind_of(is_stream=True, num_prompt_bytes=100, max_tokens=None)
PLACES = 16


def sample(took_s: float, *, of_s: float = 10.0, at: float = 0.0, among: int = 100) -> Sample:
    return Sample(kind=KIND, asked_at=at, took_s=took_s, of_s=of_s, among=among)


def sees(pressure: Pressure, now: float, *samples: Sample) -> None:
    for one in samples:
        pressure.saw(one, now)


def crowded(now: float = 10.0) -> Pressure:
    """A limit has just been set, at 100 in flight and answers that take half of their time."""
    pressure = Pressure()
    sees(pressure, 0.0, *[sample(0.5)] * SAMPLE)
    sees(pressure, now, *[sample(5.0)] * SAMPLE)
    assert pressure.limit(now) == 70
    return pressure


samples = st.builds(
    Sample,
    kind=st.tuples(st.integers(0, 1), st.integers(0, 3)),
    asked_at=st.floats(0, 100),
    took_s=st.floats(0, 100),
    of_s=st.floats(0.001, 600),
    among=st.integers(1, 1000),
)


@given(st.lists(samples, max_size=200), st.booleans())
def test_no_limit_is_below_the_floor_or_above_what_was_in_flight_when_it_was_set(seen, told):
    pressure, had = Pressure(), None
    for now, one in enumerate(seen):
        if told:
            pressure.told(waiting=50, running=10, now=now)
        pressure.saw(one, now)
        limit = pressure.limit(now)
        assert limit is None or limit >= FLOOR
        if limit is not None and had is None:
            assert limit <= max(FLOOR, max(other.among for other in seen))
        had = limit


@given(st.lists(samples, min_size=SAMPLE, max_size=60), st.integers(0, 100))
def test_whoever_is_in_time_meets_no_limit_whatever_the_queue(seen, waiting):
    pressure = Pressure()
    for now, one in enumerate(seen):
        pressure.told(waiting=waiting, running=1, now=now)
        pressure.saw(
            Sample(
                kind=one.kind, asked_at=one.asked_at, took_s=one.took_s,
                of_s=one.took_s / LATE + 0.001, among=one.among,
            ),
            now,
        )  # fmt: skip
        assert pressure.limit(now) is None


@given(st.lists(st.floats(4.5, 9.0), min_size=SAMPLE, max_size=200))
def test_long_answers_alone_are_no_crowd(times):
    pressure = Pressure()
    for now, took_s in enumerate(times):
        pressure.saw(sample(took_s, at=now), now)
        assert pressure.limit(now) is None


@given(st.lists(st.floats(0, 9.0), min_size=SAMPLE, max_size=100))
def test_an_engine_without_a_queue_is_not_crowded_however_late_it_is(times):
    pressure = Pressure()
    for now, took_s in enumerate(times):
        pressure.told(waiting=0, running=100, now=now)
        pressure.saw(sample(took_s, at=now), now)
        assert pressure.limit(now) is None


def test_an_old_word_on_the_queue_does_not_count():
    for age_s, holds in ((MAX_AGE_S, False), (MAX_AGE_S + 0.1, True)):
        pressure = Pressure()
        sees(pressure, 0.0, *[sample(0.5)] * SAMPLE)
        pressure.told(waiting=0, running=100, now=10.0 - age_s)
        sees(pressure, 10.0, *[sample(5.0)] * SAMPLE)
        assert (pressure.limit(10.0) is not None) == holds


@pytest.mark.parametrize(("waiting", "limit"), [(25, None), (26, 70)])
def test_a_standing_queue_is_a_crowd_where_no_time_is_known_to_be_fast(waiting, limit):
    pressure = Pressure()
    pressure.told(waiting=waiting, running=100, now=0.0)
    sees(pressure, 0.0, *[sample(5.0)] * SAMPLE)
    assert pressure.limit(0.0) == limit


@pytest.mark.parametrize("slowness", [SLOW * 0.95, SLOW])
def test_slow_means_so_many_times_the_fastest_of_its_kind(slowness):
    pressure = Pressure()
    sees(pressure, 0.0, sample(5.0 / slowness))
    other = Sample(kind=(9,), asked_at=0.0, took_s=0.001, of_s=10.0, among=1)
    sees(pressure, 0.0, other, *[sample(5.0)] * (SAMPLE - 2))
    assert (pressure.limit(0.0) is not None) == (slowness >= SLOW)


def test_what_was_sent_before_the_limit_says_nothing_about_it():
    pressure = crowded(10.0)
    pressure.met(10.0)
    sees(pressure, 11.0, *[sample(9.0, at=9.9)] * 10 * SAMPLE)
    assert pressure.limit(11.0) == 70


def test_a_limit_falls_while_answers_are_late_rests_between_and_rises_once_they_are_early():
    pressure = crowded(10.0)
    pressure.met(11.0)
    sees(pressure, 11.0, *[sample(4.5, at=10.5, among=70)] * SAMPLE)
    assert pressure.limit(11.0) == 49
    sees(pressure, 12.0, *[sample(3.0, at=11.5, among=49)] * SAMPLE)
    assert pressure.limit(12.0) == 49
    pressure.met(12.0)
    sees(pressure, 13.0, *[sample(2.0, at=12.5, among=49)] * SAMPLE)
    assert pressure.limit(13.0) == 54


def test_a_limit_that_nobody_meets_does_not_rise_and_goes():
    pressure = crowded(10.0)
    sees(pressure, 12.0, *[sample(0.5, at=11.0, among=5)] * SAMPLE)
    assert pressure.limit(10.0 + RELEASE_S) == 70
    assert pressure.limit(10.1 + RELEASE_S) is None


def test_an_engine_that_is_late_whatever_the_crowd_is_let_go_and_learned_anew():
    pressure, now, among = crowded(10.0), 10.0, 70
    limits = []
    while among:
        now += 1.0
        pressure.met(now)
        sees(pressure, now, *[sample(5.0, at=now, among=among)] * SAMPLE)
        among = pressure.limit(now) or 0
        limits.append(among)
    # Half of a hundred is reached with the second; three in a row from then on.
    assert limits == [49, 34, 23, 0]
    sees(pressure, now + 1, *[sample(0.5, at=now)] * SAMPLE, *[sample(5.0, at=now)] * SAMPLE)
    assert pressure.limit(now + 1) is None, "set again at once"
    later = now + REST_S + 1
    sees(pressure, later, *[sample(5.0, at=later)] * SAMPLE)
    assert pressure.limit(later) == 70


def test_a_clients_haste_below_a_second_is_not_the_engines_lateness():
    pressure = Pressure()
    sees(pressure, 0.0, *[sample(0.01)] * SAMPLE, *[sample(0.3, of_s=0.001)] * 3 * SAMPLE)
    assert pressure.limit(0.0) is None


def test_a_stream_is_compared_with_streams_of_its_length():
    def kind(**fields):
        usual = {"is_stream": True, "num_prompt_bytes": 1000, "max_tokens": 100}
        return kind_of(**usual | fields)

    assert kind() == kind(num_prompt_bytes=600, max_tokens=4000)
    others = [kind(is_stream=False), kind(num_prompt_bytes=3000)]
    others.append(kind(is_stream=False, max_tokens=4000))
    assert len({kind(), *others}) == 4


@dataclass
class World:
    """An engine behind one gateway, event by event: arrivals, ends, waits."""

    tells: bool
    shares: bool
    """Whether all requests are worked on at once; else in turn, `PLACES` at a time."""
    time_s: float
    seed: int
    pressure: Pressure = field(default_factory=Pressure)
    pause: tuple[float, float] = (math.inf, 0.0)
    """When the engine stands still, and for how long."""
    good: int = 0
    limits: list[int | None] = field(default_factory=list)

    def run(self, rate: float, seconds: float, service_s: float = 0.2) -> None:
        draw, order = random.Random(self.seed), itertools.count()
        events: list[tuple[float, int, str, tuple]] = []
        at = 0.0
        while at < seconds:
            at += draw.expovariate(rate)
            heapq.heappush(events, (at, next(order), "arrive", (at,)))
        line: deque[float] = deque()
        flying: list[float] = []  # when each ends
        busy = [0.0] * PLACES
        while events:
            now, _, kind, facts = heapq.heappop(events)
            if kind == "arrive":
                line.append(now)
            else:
                arrived, asked, among, size = facts
                flying.remove(now)
                self.good += now - arrived <= self.time_s
                self.pressure.saw(
                    Sample(
                        kind=(size,), asked_at=asked, took_s=now - asked,
                        of_s=self.time_s, among=among,
                    ),
                    now,
                )  # fmt: skip
            if self.tells:
                waiting = max(0, len(flying) - PLACES)
                self.pressure.told(waiting=waiting, running=len(flying) - waiting, now=now)
            limit = self.pressure.limit(now)
            self.limits.append(limit)
            while line and now - line[0] > 0.4 * self.time_s:
                line.popleft()
            while line and len(flying) < (limit or math.inf):
                arrived, among = line.popleft(), len(flying) + 1
                size = draw.choice((1, 2))
                work_s = service_s * size * draw.uniform(0.7, 1.3) / 1.5
                if self.shares:
                    ends = now + work_s * max(1.0, among / PLACES)
                else:
                    ends = heapq.heappop(busy)
                    ends = max(now, ends) + work_s
                    heapq.heappush(busy, ends)
                paused_at, pause_s = self.pause
                if now < paused_at + pause_s and ends > paused_at:
                    ends += paused_at + pause_s - max(now, paused_at)
                flying.append(ends)
                facts = (arrived, now, among, size)
                heapq.heappush(events, (ends, next(order), "end", facts))
            if line:
                self.pressure.met(now)


CAPACITY = PLACES / 0.2


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize("tells", [True, False])
def test_five_times_the_capacity_leaves_the_goodput_what_it_is(tells, shares, seed):
    world = World(tells=tells, shares=shares, time_s=2.0, seed=seed)
    world.run(CAPACITY * 0.5, 5.0)  # what fast means
    assert set(world.limits) == {None}
    world.good = 0
    world.run(CAPACITY * 5, 20.0)
    assert world.good >= 0.8 * CAPACITY * 20.0, world.good


@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize("tells", [True, False])
def test_a_pause_of_the_engine_costs_no_more_than_itself(tells, shares):
    world = World(tells=tells, shares=shares, time_s=2.0, seed=0, pause=(12.0, 3.0))
    world.run(CAPACITY * 0.5, 5.0)
    world.good = 0
    world.run(CAPACITY * 5, 40.0)
    assert world.good >= 0.75 * CAPACITY * (40.0 - 3.0), world.good


@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize("tells", [True, False])
def test_ten_minutes_are_enough_for_any_crowd(tells, shares):
    world = World(tells=tells, shares=shares, time_s=600.0, seed=0)
    world.run(CAPACITY * 3, 10.0)
    assert set(world.limits) == {None}
