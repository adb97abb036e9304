from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.shares import SLOT_S, WINDOW_S, ShareWindow


def test_shares_are_per_model():
    window = ShareWindow()
    for model, revision in (("m", "a"), ("m", "a"), ("m", "a"), ("m", "b"), ("other", "x")):
        window.count(model, revision, now=0.0)
    assert window.shares(now=1.0) == {("m", "a"): 0.75, ("m", "b"): 0.25, ("other", "x"): 1.0}


def test_what_is_older_than_the_window_is_forgotten():
    window = ShareWindow()
    window.count("m", "a", now=0.0)
    assert window.shares(now=WINDOW_S - SLOT_S) == {("m", "a"): 1.0}
    assert window.shares(now=WINDOW_S) == {}


@given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from("ab")), min_size=1, max_size=80))
def test_the_window_holds_what_came_within_it(requests):
    window, times, now = ShareWindow(), [], 0.0
    for gap, revision in requests:
        now += gap
        window.count("m", revision, now)
        times.append((now, revision))
    recent = Counter(r for at, r in times if int(now // SLOT_S) - int(at // SLOT_S) < 12)
    total = sum(recent.values())
    assert window.shares(now) == {("m", r): n / total for r, n in recent.items()}
    assert window.counts(now) == {("m", r): n for r, n in recent.items()}
    assert len(window._slots) <= 12
