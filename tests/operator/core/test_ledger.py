from bisect import bisect_left
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.ledger import FRESH_S, KEEP_S, MAX_ENTRIES, Ledger, per_bucket
from pagelet_operator.core.window import Histogram, Window

KEY = ("chat", "chat-a")
BOUNDS = (0.1, 1.0)


def counts(requests: int = 0, **fields: object) -> Window:
    return Window(since=0.0, until=0.0, requests=requests, **fields)  # type: ignore[arg-type]


def test_the_first_reading_of_a_source_counts_nothing():
    ledger = Ledger()
    ledger.read("g", {KEY: counts(1000)}, 10.0)
    assert ledger.window(KEY, 0.0) is None


def test_a_difference_is_what_happened_between_two_readings():
    ledger = Ledger()
    ledger.read("g", {KEY: counts(1000, errors=3, abandoned=8)}, 10.0)
    ledger.read("g", {KEY: counts(1007, errors=4, abandoned=10)}, 15.0)
    happened = Window(since=10.0, until=15.0, requests=7, errors=1, abandoned=2)
    assert ledger.window(KEY, 0.0) == happened


def test_a_restart_counts_from_0():
    ledger = Ledger()
    ledger.read("g", {KEY: counts(1000, errors=5)}, 10.0)
    ledger.read("g", {KEY: counts(4, errors=1)}, 15.0)
    found = ledger.window(KEY, 0.0)
    assert (found.requests, found.errors) == (4, 1)


def test_a_restart_is_seen_in_any_bucket():
    ledger = Ledger()
    ledger.read("g", {KEY: counts(3, itl=Histogram(BOUNDS, (3, 0, 0)))}, 10.0)
    ledger.read("g", {KEY: counts(3, itl=Histogram(BOUNDS, (0, 3, 1)))}, 15.0)
    assert ledger.window(KEY, 0.0).itl == Histogram(BOUNDS, (0, 3, 1))


def test_a_revision_a_known_source_had_not_named_begins_at_0():
    ledger = Ledger()
    ledger.read("g", {}, 10.0)
    ledger.read("g", {KEY: counts(4)}, 15.0)
    assert ledger.window(KEY, 0.0).requests == 4


def test_a_series_that_was_away_begins_at_0_even_above_its_old_value():
    ledger = Ledger()
    ledger.read("g", {KEY: counts(4)}, 10.0)
    ledger.read("g", {}, 15.0)
    ledger.read("g", {KEY: counts(6)}, 20.0)
    assert ledger.window(KEY, 0.0).requests == 6


def test_a_process_that_took_over_an_address_is_another_one():
    ledger = Ledger()
    ledger.read("g", {KEY: counts(4)}, 10.0)
    ledger.forget("g")
    ledger.read("g", {KEY: counts(900)}, 15.0)
    assert ledger.window(KEY, 0.0) is None


def test_several_gateways_add_up_and_one_that_is_silent_is_left_out():
    ledger = Ledger()
    for at, first, second in ((10.0, 0, 100), (15.0, 3, 105), (20.0, 4, None)):
        ledger.read("first", {KEY: counts(first)}, at)
        if second is not None:
            ledger.read("second", {KEY: counts(second)}, at)
    assert ledger.window(KEY, 0.0) == Window(since=10.0, until=20.0, requests=9)


def test_a_window_never_reaches_further_back_than_asked():
    ledger = Ledger()
    for at in (10.0, 15.0, 20.0, 25.0):
        ledger.read("g", {KEY: counts(int(at))}, at)
    assert ledger.window(KEY, 12.0) == Window(since=15.0, until=25.0, requests=10)
    assert ledger.window(KEY, 21.0) is None


def test_samples_of_a_queue_are_taken_as_they_are():
    ledger = Ledger()
    for at, waiting in ((10.0, 5), (15.0, 3), (20.0, 1)):
        ledger.read("e", {KEY: counts(output_tokens=0, queue_samples=1, queue_sum=waiting)}, at)
    found = ledger.window(KEY, 0.0)
    assert (found.queue_samples, found.queue_sum) == (2, 4.0)


def waiting(*counted: int) -> Histogram:
    return Histogram(BOUNDS, counted)


def test_who_waits_is_taken_from_the_newest_reading_alone():
    ledger = Ledger()
    for at, held in ((10.0, (3, 0, 0)), (15.0, (1, 2, 0)), (20.0, (0, 1, 2))):
        ledger.read("g", {KEY: counts(in_flight_sum=3.0, waiting=waiting(*held))}, at)
    assert ledger.window(KEY, 0.0).waiting == waiting(0, 1, 2)
    assert all(not entry.waiting.total for entry in ledger.entries(KEY, 0.0))
    ledger.read("g", {KEY: counts(in_flight_sum=0.0)}, 25.0)
    assert ledger.window(KEY, 0.0).waiting.total == 0


def test_who_waits_at_several_gateways_adds_up_and_a_silent_one_s_are_soon_left_out():
    ledger = Ledger()
    for at in (10.0, 15.0):
        for source in ("g", "h"):
            ledger.read(source, {KEY: counts(3, in_flight_sum=1.0, waiting=waiting(0, 1, 0))}, at)
    assert ledger.window(KEY, 0.0).waiting == waiting(0, 2, 0)
    ledger.read("g", {KEY: counts(3, in_flight_sum=1.0, waiting=waiting(0, 1, 0))}, 15.5 + FRESH_S)
    assert ledger.window(KEY, 0.0).waiting == waiting(0, 1, 0)


def test_who_waits_in_buckets_of_another_version_is_left_out():
    ledger = Ledger()
    for at in (10.0, 15.0):
        ledger.read("g", {KEY: counts(3, in_flight_sum=1.0, waiting=waiting(0, 1, 0))}, at)
        ledger.read("h", {KEY: counts(3, in_flight_sum=1.0, waiting=Histogram((5.0,), (1, 0)))}, at)
    assert ledger.window(KEY, 0.0).waiting == waiting(0, 1, 0)


arrivals = st.lists(st.tuples(st.floats(0.0, 40.0), st.floats(0.01, 30.0)), max_size=30)


@given(arrivals)
def test_once_all_have_ended_the_view_is_that_of_a_ledger_that_never_saw_them_wait(requests):
    with_waits, without = Ledger(), Ledger()

    def read(at: float) -> None:
        ended = [took for began, took in requests if began + took <= at]
        held = [at - began for began, took in requests if began <= at < began + took]
        seen = counts(len(ended), ttft=bucketed(ended), in_flight_sum=float(len(held)))
        without.read("g", {KEY: seen}, at)
        with_waits.read("g", {KEY: replace(seen, waiting=bucketed(held))}, at)
        view = with_waits.window(KEY, 0.0)
        if view is not None:
            assert view.ttft_so_far.total <= sum(began <= at for began, _ in requests)

    for at in range(-5, 80, 5):
        read(float(at))
    found, wanted = with_waits.window(KEY, -5.0), without.window(KEY, -5.0)
    if found is None or wanted is None:
        assert found is wanted
        return
    assert found.ttft_so_far == found.ttft
    assert replace(found, waiting=wanted.waiting) == wanted


def bucketed(values: list[float]) -> Histogram:
    found = [0] * (len(BOUNDS) + 1)
    for value in values:
        found[bisect_left(BOUNDS, value)] += 1
    return Histogram(BOUNDS, tuple(found))


def test_memory_is_bounded_and_old_evidence_is_kept_in_longer_entries():
    ledger = Ledger()
    for second in range(1000):
        ledger.read("g", {KEY: counts(second)}, float(second))
    assert ledger.window(KEY, 0.0) == Window(since=0.0, until=999.0, requests=999)
    assert len(ledger._logs[KEY]) <= MAX_ENTRIES
    recent = ledger.window(KEY, 980.0)
    assert recent.requests == 19, "the latest entries are exact"


def test_what_is_too_old_for_any_step_is_dropped():
    ledger = Ledger()
    ledger.read("g", {KEY: counts(1)}, 0.0)
    ledger.read("g", {KEY: counts(2)}, 5.0)
    ledger.expire(5.0 + KEEP_S)
    assert ledger.window(KEY, 0.0) is None


reading = st.fixed_dictionaries(
    {
        "requests": st.integers(0, 50),
        "errors": st.integers(0, 50),
        "output_tokens": st.integers(0, 50) | st.none(),
        "itl": st.builds(
            Histogram, st.just(BOUNDS), st.tuples(*[st.integers(0, 9)] * len((*BOUNDS, 1)))
        ),
    }
)
events = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.none() | reading, st.booleans()), max_size=40
)


@given(events)
def test_whatever_sources_say_no_count_is_ever_negative_or_invented(history):
    ledger, said = Ledger(), 0
    for at, (source, fields, gone) in enumerate(history):
        if gone:
            ledger.forget(source)
        ledger.read(source, {KEY: counts(**fields)} if fields else {}, float(at))
        said += fields["requests"] if fields else 0
    found = ledger.window(KEY, 0.0)
    if found is not None:
        assert 0 <= found.requests <= said
        assert found.errors >= 0
        assert min(found.itl.counts) >= 0
        assert (found.output_tokens or 0) >= 0


@given(st.lists(st.integers(0, 20), min_size=1, max_size=60))
def test_without_restarts_all_that_was_counted_after_the_first_reading_is_there(steps):
    ledger, total = Ledger(), 7
    ledger.read("g", {KEY: counts(total)}, 0.0)
    for at, grown in enumerate(steps, 1):
        total += grown
        ledger.read("g", {KEY: counts(total)}, float(at))
    found = ledger.window(KEY, 0.0)
    assert (found.requests if found else 0) == sum(steps)


def test_cumulated_buckets_become_counts():
    assert per_bucket({0.1: 2, float("inf"): 5, 1.0: 5}) == Histogram(BOUNDS, (2, 3, 0))


@pytest.mark.parametrize("wrong", [{}, {0.1: 1.0}, {0.1: 3, float("inf"): 2}])
def test_what_is_no_histogram_is_refused(wrong):
    with pytest.raises(ValueError, match=r"histogram|bucket"):
        per_bucket(wrong)
