from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.window import Window

GAPS = st.floats(0, 70, allow_nan=False) | st.floats(0, 2) | st.integers(0, 61).map(float)
STEPS = st.lists(st.tuples(GAPS, st.integers(1, 30)), max_size=60)


@given(STEPS, st.integers(1, 60))
def test_no_minute_holds_more_than_the_limit(steps, limit):
    window, now, used = Window(), 1000.0, []
    for gap, amount in steps:
        now += gap
        if window.free_in(now, limit, amount) == 0:
            used.append((now, min(amount, limit)))
            window.add(now, min(amount, limit))
    for start, _ in used:
        assert sum(amount for at, amount in used if start <= at < start + 60) <= limit


@given(STEPS, st.integers(1, 60), st.integers(1, 60))
def test_what_is_free_in_a_while_is_free_then_and_not_before(steps, limit, amount):
    window, now = Window(), 1000.0
    for gap, used in steps:
        now += gap
        window.add(now, used)
    wait_s = window.free_in(now, limit, amount)
    assert 0 <= wait_s <= 61
    if wait_s > 1.5:
        assert window.free_in(now + wait_s - 1.01, limit, amount) > 0
    assert window.free_in(now + wait_s + 1e-6, limit, amount) == 0


@given(STEPS)
def test_all_is_free_after_its_reset_and_no_sooner(steps):
    window, now = Window(), 1000.0
    for gap, amount in steps:
        now += gap
        window.add(now, amount)
    reset_s = window.reset_in(now)
    assert (reset_s > 0) == bool(window.used)
    if reset_s > 0.1:
        window.advance(now + reset_s - 0.1)
        assert window.used > 0
    window.advance(now + reset_s + 1e-6)
    assert window.used == 0


@given(STEPS, st.integers(0, 40))
def test_a_refund_takes_back_only_from_its_own_second(steps, back):
    window, plain, now = Window(), Window(), 1000.0
    for gap, amount in steps:
        now += gap
        window.add(now, amount)
        plain.add(now, amount)
    first = 1000.0 + (steps[0][0] if steps else 0)
    own = sum(
        amount
        for index, (_, amount) in enumerate(steps)
        if int(1000.0 + sum(gap for gap, _ in steps[: index + 1])) == int(first)
    )
    window.refund(first, now, back)
    taken = plain.used - window.used
    counts = int(first) >= int(now) - 60
    assert taken == (min(back, own) if counts else 0)


def test_what_was_all_given_back_delays_no_reset():
    window = Window()
    window.add(1000.0, 5)
    window.add(1030.0, 7)
    window.refund(1030.0, 1031.0, 7)
    assert window.reset_in(1031.0) == 30.0
