"""A canary that idles is held to stable's calm times, never to busier ones than needed."""

from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.calm import BLOCK_S, LESS_BUSY, calm
from pagelet_operator.core.window import Window


def times(*requests: int, each_s: float = BLOCK_S) -> list[Window]:
    return [
        Window(since=index * each_s, until=(index + 1) * each_s, requests=n)
        for index, n in enumerate(requests)
    ]


def of(requests: int) -> Window:
    return Window(since=0.0, until=BLOCK_S, requests=requests)


def test_the_calmest_quarter_that_was_no_calmer_than_the_canary_counts() -> None:
    found = calm(times(80, 20, 90, 9, 30, 70, 60, 50, 85), of(80), of(10), 1.0)
    assert found is not None
    assert found.requests == 20 + 30, "two of the eight with ten requests or more"


def test_a_canary_that_is_about_as_busy_is_compared_with_stable_of_now() -> None:
    record = times(10, 20, 30, 40)
    assert calm(record, of(40), of(20), 1.0) is None
    assert calm(record, of(40), of(19), 1.0) is not None


def test_what_a_replica_has_to_do_counts_not_a_revision() -> None:
    record = times(100, 200, 400)
    assert calm(record, of(400), of(41), 5.0) is None, "one replica of the canary, five of stable"
    found = calm(record, of(400), of(30), 5.0)
    assert found is not None
    assert found.requests == 200, "150 on five replicas are 30 on one"


def test_short_pieces_are_joined_to_times_that_say_something() -> None:
    quiet = [0, 1, 0, 1, 0, 1]
    found = calm(times(*[10] * 6, *quiet, each_s=5.0), of(60), of(2), 1.0)
    assert found is not None
    assert (found.span_s, found.requests) == (30.0, 3)


def test_nothing_known_is_no_calm_time() -> None:
    assert calm([], of(40), of(1), 1.0) is None
    assert calm(times(1, 1), None, of(1), 1.0) is None
    assert calm(times(1, 1), of(40), None, 1.0) is None
    assert calm(times(5, 5), of(40), of(10), 1.0) is None, "never as busy as the canary"
    assert calm(times(40, each_s=5.0), of(40), of(1), 1.0) is None, "too short"


counts = st.lists(st.integers(0, 200), max_size=40)


@given(counts, st.integers(0, 200), st.integers(0, 200), st.floats(0.1, 10.0))
def test_a_calm_time_lies_between_the_canarys_load_and_the_record(record, busy, canary, replicas):
    found = calm(times(*record), of(busy), of(canary), replicas)
    load = canary / BLOCK_S * replicas
    busier = sorted(n for n in record if n / BLOCK_S >= load)
    assert (found is None) == (load >= LESS_BUSY * busy / BLOCK_S or not busier)
    if found is None:
        return
    taken = max(1, len(busier) // 4)
    assert found.requests == sum(busier[:taken]), "the calmest of those as busy as the canary"
