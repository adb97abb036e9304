"""At most one works at a time, and soon somebody does, whoever crashes or loses its network."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagelet_operator.core.leadership import (
    DEADLINE_S,
    DURATION_S,
    RETRY_S,
    Move,
    Record,
    Sight,
    look,
    may_work,
    move,
)


def test_what_nobody_holds_is_taken_at_once():
    assert move(Sight(None, 5.0), "a", 5.0) is Move.TAKE
    assert move(Sight(Record(None, "1"), 5.0), "a", 5.0) is Move.TAKE


def test_ones_own_is_renewed_however_old():
    assert move(Sight(Record("a", "1"), 0.0), "a", 1e6) is Move.RENEW


@pytest.mark.parametrize(
    ("waited_s", "expected"),
    [(0.0, Move.WAIT), (DURATION_S - 0.01, Move.WAIT), (DURATION_S, Move.TAKE)],
)
def test_anothers_is_taken_once_it_has_stood_still(waited_s, expected):
    assert move(Sight(Record("b", "1"), 10.0), "a", 10.0 + waited_s) is expected


def test_a_renewal_starts_the_wait_anew_and_another_look_does_not():
    first = look(None, Record("b", "1"), 10.0)
    assert look(first, Record("b", "1"), 20.0) == first
    assert look(first, Record("b", "2"), 20.0) == Sight(Record("b", "2"), 20.0)


def test_work_ends_before_the_next_may_begin():
    assert may_work(0.0, DEADLINE_S - 0.01)
    assert not may_work(0.0, DEADLINE_S)
    assert DEADLINE_S + RETRY_S < DURATION_S


@dataclass
class Process:
    """One operator, as `kube.lease` drives it: looks every RETRY_S, works while it may."""

    name: str
    sight: Sight | None = None
    renewed_at: float | None = None
    cut_off: bool = False

    def works(self, now: float) -> bool:
        return self.renewed_at is not None and may_work(self.renewed_at, now)


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from(["crash", "cut off", "heal", "nothing"]),
            st.integers(1, 12),
        ),
        max_size=25,
    )
)
def test_never_two_work_and_within_a_while_one_does(script):
    record: Record | None = None
    processes = [Process(name) for name in "abc"]
    now, idle_since, version = 0.0, 0.0, 0
    for index, event, turns in [*script, (0, "nothing", 15)]:
        chosen = processes[index]
        if event != "nothing":
            idle_since = now  # each mishap may cost a duration of its own
        match event:
            case "crash":  # and a new one starts in its place, under a name of its own
                processes[index] = Process(f"{chosen.name}'")
            case "cut off" | "heal":
                processes[index] = replace(chosen, cut_off=event == "cut off")
            case _:
                pass
        for _ in range(turns):
            for process in processes:
                if process.cut_off:
                    continue
                process.sight = look(process.sight, record, now)
                decided = move(process.sight, process.name, now)
                if decided is Move.WAIT:
                    process.renewed_at = None
                    continue
                version += 1
                record = Record(process.name, str(version))
                process.renewed_at = now
            working = [process.name for process in processes if process.works(now)]
            assert len(working) <= 1, f"{working} at {now}"
            if working or all(process.cut_off for process in processes):
                idle_since = now
            assert now - idle_since <= DURATION_S + 2 * RETRY_S, f"nobody works at {now}"
            now += RETRY_S
