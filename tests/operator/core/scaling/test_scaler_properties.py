"""The scaler over whole days: storms, noise, and readings that lie."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagelet_operator.core.scaling import (
    Change,
    ScalerState,
    ScalingPolicy,
    Seen,
    Targets,
    decide,
)
from scaling_fluid import Fluid, direction_changes

TARGETS = Targets(ttft_p99_s=1.0, itl_p99_s=0.05)
POLICY = ScalingPolicy(min_replicas=1, max_replicas=64, targets=TARGETS)
HOUR = 240
"""Looks in an hour, one each 15 s."""


@pytest.mark.parametrize("factor", [2, 3, 9])
def test_a_cold_start_storm_does_not_cascade(factor):
    # Pods take ten minutes, emit nothing, and the queue on the one replica grows without end.
    fleet = Fluid(POLICY, cold_start_s=600.0)
    for _ in range(20):
        fleet.look(20.0)
    for _ in range(2 * HOUR):
        fleet.look(20.0 * factor)
    needed = math.ceil(20.0 * factor / (POLICY.places * 0.4))
    during = fleet.asked[20 + 16 : 20 + 40]
    assert len(set(during)) == 1, f"it went on asking while pods started: {during}"
    assert max(fleet.asked) <= 3 * needed + 1
    assert fleet.queue == 0.0


def test_what_never_becomes_ready_is_asked_for_once():
    fleet = Fluid(POLICY, cold_start_s=math.inf)
    for _ in range(6 * HOUR):
        fleet.look(200.0)
    assert len(set(fleet.asked[HOUR:])) == 1
    assert fleet.asked[-1] <= 12  # Beside a single replica nobody can know of more.


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    level=st.floats(1.0, 600.0),
    noise=st.floats(0.0, 0.8),
    lasting=st.integers(1, 60),
)
def test_noise_turns_the_fleet_at_most_twice_an_hour(seed, level, noise, lasting):
    rng = random.Random(seed)
    fleet = Fluid(POLICY)
    height = level
    for look in range(3 * HOUR):
        if look % lasting == 0:
            height = level * (1.0 + noise * rng.uniform(-1.0, 1.0))
        fleet.look(max(0.0, rng.gauss(height, math.sqrt(height))))
    turns = direction_changes(fleet.asked)
    assert all(third - first >= HOUR for first, third in zip(turns, turns[2:], strict=False))


def daily(rng, look, per_day):
    """Return the load of a day: a wave, and bursts now and then."""
    wave = 150.0 + 130.0 * math.sin(2 * math.pi * look / per_day)
    return wave * (3.0 if rng.random() < 0.01 else 1.0) * rng.uniform(0.8, 1.2)


ODD = {
    "nan": lambda seen, rng: replace(seen, running=math.nan, in_flight=math.nan),
    "negative": lambda seen, rng: replace(seen, waiting=-5.0),
    "infinite": lambda seen, rng: replace(seen, tokens_per_s=math.inf),
    "absent": lambda seen, rng: Seen(ready=seen.ready, asked=seen.asked),
    "stale": lambda seen, rng: replace(seen, at=seen.at - 1e4, running=0.0, in_flight=0.0),
    "ahead": lambda seen, rng: replace(seen, at=seen.at + 1e6, running=0.0),
    "reset": lambda seen, rng: replace(
        seen, running=0.0, waiting=0.0, served_per_s=0.0, tokens_per_s=None, in_flight=0.0
    ),
    "engine restarted": lambda seen, rng: replace(seen, running=0.0, waiting=0.0),
    "partial": lambda seen, rng: replace(seen, answered=0, running=0.1 * seen.running),
    "spike": lambda seen, rng: replace(seen, running=1e5 * rng.random(), ttft_p99_s=math.inf),
    "no latencies": lambda seen, rng: replace(seen, ttft_p99_s=None, itl_p99_s=None),
}


BELIEVABLE = (None, "no latencies", "reset")
"""A reset looks like silence; the window before it is what speaks."""


class Day:
    """Twenty-four hours in which a share of the readings is odd, some for a while."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        # Few looks make a day: what counts is the order of readings, not their number.
        self.policy = replace(
            POLICY, interval_s=180.0, down_window_s=1800.0, min_replicas=2, max_replicas=12
        )
        self.fleet = Fluid(self.policy, cold_start_s=self.rng.choice([60.0, 240.0, 600.0]))
        self.true = []
        self.lie, self.until = None, 0

    def run(self):
        per_day = int(86400 / self.policy.interval_s)
        for look in range(per_day):
            if self.rng.random() < 0.01:  # A gap: nobody looks for a while.
                self.fleet.now += self.rng.uniform(0, 3) * self.policy.down_window_s
            load = daily(self.rng, look, per_day)
            before = self.fleet.state.replicas
            decision = self.fleet.look(load, self.distorted)
            if self.lie in (None, "no latencies"):
                self.true.append((self.fleet.now, load))
            yield before, decision

    def distorted(self, seen):
        if self.fleet.now >= self.until:
            draw = self.rng.random()
            self.lie = self.rng.choice(list(ODD)) if draw < 0.1 else None
            lasting = self.rng.choice([1, 1, 1, 5, 20]) if self.lie else 1
            # Nobody can tell a load that is gone from one that all sources deny for long.
            lasting = 1 if self.lie == "reset" else lasting
            self.until = self.fleet.now + lasting * self.policy.interval_s
        return ODD[self.lie](seen, self.rng) if self.lie else seen

    def peak(self):
        """Return the highest load of the window that any honest reading told."""
        oldest = self.fleet.now - self.policy.down_window_s
        return max((load for at, load in self.true if at >= oldest), default=math.inf)


def test_two_hundred_days_of_odd_readings_never_scale_down_wrongly():
    downs = 0
    for seed in range(200):
        day = Day(seed)
        for before, decision in day.run():
            assert day.policy.min_replicas <= decision.replicas <= day.policy.max_replicas
            if before is not None and decision.replicas < before:
                downs += 1
                assert day.lie in BELIEVABLE, f"day {seed}: down on {day.lie}"
                carried = decision.replicas * day.policy.places
                assert carried >= day.peak(), f"day {seed}: {decision}"
    assert downs > 200, "a scaler that never goes down proves nothing"


SEEN = st.builds(
    Seen,
    ready=st.integers(0, 20),
    asked=st.integers(0, 20),
    at=st.one_of(st.none(), st.floats(0, 2000)),
    answered=st.integers(0, 20),
    running=st.floats(),
    waiting=st.floats(),
    kv_usage=st.floats(0, 2),
    served_per_s=st.floats(),
    unserved_per_s=st.floats(),
    in_flight=st.floats(),
    tokens_per_s=st.one_of(st.none(), st.floats()),
    ttft_p99_s=st.one_of(st.none(), st.floats()),
    itl_p99_s=st.one_of(st.none(), st.floats()),
    held=st.integers(0, 3),
    long_prompts=st.booleans(),
    settled=st.booleans(),
)
POLICIES = st.builds(
    lambda low, more, idle: ScalingPolicy(
        min_replicas=low, max_replicas=low + more, targets=TARGETS, idle_to_zero_after_s=idle
    ),
    st.integers(1, 6),
    st.integers(0, 9),
    st.one_of(st.none(), st.floats(1, 600)),
)


@given(policy=POLICIES, looks=st.lists(st.tuples(st.floats(0, 120), SEEN), max_size=30))
def test_whatever_is_read_the_number_stays_within_its_bounds(policy, looks):
    state, now = ScalerState(), 1000.0
    for waited_s, seen in looks:
        now += waited_s
        decision = decide(state, policy, seen, now)
        state = decision.state
        in_bounds = policy.min_replicas <= decision.replicas <= policy.max_replicas
        assert in_bounds or (decision.replicas == 0 and policy.idle_to_zero_after_s is not None)
        assert decision.reason
        assert decision.message
        assert state.replicas == decision.replicas


@given(looks=st.lists(SEEN, min_size=1, max_size=12), again=st.integers(1, 4))
def test_a_burst_of_looks_at_one_moment_decides_once(looks, again):
    state, now = ScalerState(replicas=3), 1000.0
    for seen in looks:
        now += POLICY.interval_s
        first = decide(state, POLICY, seen, now)
        state = first.state
        for _ in range(again):
            repeated = decide(state, POLICY, seen, now)
            state = repeated.state
        assert repeated.replicas == first.replicas


@given(existing=st.integers(0, 99), seen=SEEN)
def test_lost_memory_ends_nothing_that_exists(existing, seen):
    decision = decide(ScalerState(), POLICY, replace(seen, asked=existing), 1000.0)
    assert decision.replicas >= min(existing, POLICY.max_replicas)


@given(
    changes=st.lists(st.tuples(st.floats(0, 59), st.integers(1, 60)), max_size=4),
    demand=st.floats(0, 1e5),
)
def test_the_rate_of_rising_is_kept(changes, demand):
    asked = 4
    made = []
    for at, after in sorted(changes):
        made.append(Change(941.0 + at, asked, after))
        asked = after
    state = ScalerState(replicas=asked, changes=tuple(made))
    full = Seen(ready=asked, at=1000.0, answered=asked, running=demand)
    found = decide(state, POLICY, full, 1000.0).replicas
    first = made[0].before if made else asked
    assert found <= max(asked, first + max(4, first)) or found == POLICY.min_replicas
