import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pagelet_gateway.core.meter import Meter, Part

NOW = 1000.0


def greedy(part: Part, until_s: float, start_s: float, amounts: list[int]) -> list[tuple]:
    """Ask again as soon as the meter says that it makes sense; returns when and how much."""
    meter, now, used = Meter(), NOW + start_s, []
    while now < NOW + until_s:
        amount = amounts[len(used) % len(amounts)]
        wait_s = meter.free_in(now, part, amount)
        if wait_s > 0:
            now += wait_s + 1e-6
            continue
        meter.add(now, amount, part)
        used.append((now, amount))
    return used


@given(
    limit=st.integers(1, 60),
    starts=st.lists(st.floats(0, 60), min_size=1, max_size=12),
)
@example(limit=1, starts=[0.0] * 12)
@example(limit=2, starts=[0.0] * 3)
@example(limit=10, starts=[0.0] * 3)
@example(limit=11, starts=[0.0] * 12)
def test_replicas_together_keep_a_quota_within_a_tenth(limit, starts):
    shares = len(starts)
    part = Part(limit, shares)
    minutes = 10 * max(1.0, shares / limit)
    used = [
        at for start_s in starts for at, _ in greedy(part, 60 * minutes + start_s, start_s, [1])
    ]
    assert 0.9 * limit * minutes <= len(used) <= 1.1 * limit * minutes + 1e-6
    for first in used:
        in_a_minute = sum(first <= at < first + 60 for at in used)
        assert in_a_minute < limit + shares


@given(
    limit=st.integers(20, 1000),
    shares=st.integers(2, 12),
    parts=st.lists(st.floats(0.01, 1.0), min_size=1, max_size=5),
)
def test_requests_larger_than_a_share_exceed_no_quota_in_the_long_run(limit, shares, parts):
    amounts = [max(1, int(part * limit)) for part in parts]
    each = Part(limit, shares)
    minutes = 10 * max(1.0, max(amounts) / each.exact)
    used = sum(amount for _, amount in greedy(each, 60 * minutes, 0.0, amounts)) * shares
    assert used <= 1.1 * limit * minutes + shares


def test_two_a_minute_for_three_is_one_in_ninety_seconds_each():
    times = [at - NOW for at, _ in greedy(Part(2, 3), 400.0, 0.0, [1])]
    assert times == pytest.approx([0.0, 90.0, 180.0, 270.0, 360.0], abs=0.1)


def test_a_whole_limit_knows_minutes_only():
    meter, part = Meter(), Part(2)
    meter.add(NOW, 1, part)
    meter.add(NOW, 1, part)
    assert meter.free_in(NOW, part, 1) == 61.0
    assert meter.free_in(NOW + 61, part, 2) == 0.0


def test_what_is_given_back_makes_room_in_the_long_run_too():
    meter, part = Meter(), Part(90, 3)
    meter.add(NOW, 80, part)
    assert meter.free_in(NOW, part, 30) == pytest.approx(160.0)
    meter.refund(NOW, NOW, 70)
    assert meter.free_in(NOW, part, 20) == 0.0
    assert meter.left(NOW, part) == 20
    meter.add(NOW, 25)
    assert meter.left(NOW, part) == 0
    assert meter.reset_in(NOW) == pytest.approx(70.0)


moves = st.lists(
    st.tuples(st.floats(-2, 90), st.sampled_from(["add", "refund", "late"]), st.integers(0, 40)),
    max_size=12,
)


@given(limit=st.integers(1, 60), shares=st.integers(1, 8), moves=moves)
def test_what_is_left_is_what_is_free_and_waiting_frees_what_was_foretold(limit, shares, moves):
    meter, part, now = Meter(), Part(limit, shares), NOW
    for step_s, move, amount in moves:
        now += step_s
        if move == "refund":
            meter.refund(now - 1.0, now, amount)
        else:
            meter.add(now, amount, part if move == "add" else None)
        left = meter.left(now, part)
        assert 0 <= left <= part.in_a_minute
        room = min(part.in_a_minute, int(max(1.0, part.exact)))
        for wanted in range(1, room + 1):
            wait_s = meter.free_in(now, part, wanted)
            assert (wait_s == 0.0) == (wanted <= left)
        later = now + meter.free_in(now, part, 1000) + 1e-6
        assert meter.free_in(later, part, 1000) <= 1e-5
        assert meter.is_idle(now + meter.reset_in(now) + 1e-6)
        now = max(now, later)
