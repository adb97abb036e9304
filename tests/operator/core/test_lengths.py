"""Lengths by bucket, and how far two of them lie apart."""

from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.lengths import BOUNDS, BUCKETS, NO_LENGTHS, Lengths, distance, of_windows
from pagelet_operator.core.window import Histogram, Window

COUNTS = st.lists(st.integers(0, 500), min_size=6, max_size=6).map(tuple)
WHOLE = st.lists(st.integers(0, 500), min_size=BUCKETS, max_size=BUCKETS).map(tuple)


@given(COUNTS, COUNTS)
def test_the_distance_is_one(ours, theirs):
    found = distance(ours, theirs)
    assert found == distance(theirs, ours)
    if found is None:
        assert not sum(ours) or not sum(theirs)
    else:
        assert 0 <= found <= 1 + 1e-9
        assert distance(ours, ours) == 0


@given(COUNTS, COUNTS, COUNTS)
def test_the_way_over_a_third_is_never_shorter(ours, theirs, third):
    apart, first, second = distance(ours, theirs), distance(ours, third), distance(third, theirs)
    if None not in (apart, first, second):
        assert apart <= first + second + 1e-9


def test_what_has_nothing_in_common_is_as_far_as_can_be():
    assert distance((5, 0), (0, 2)) == 1.0


def window(prompt, output=None):
    return Window(
        since=0.0,
        until=1.0,
        prompt_lengths=Histogram(BOUNDS, prompt),
        output_lengths=Histogram(BOUNDS, output or prompt),
    )


@given(st.lists(st.tuples(WHOLE, WHOLE), max_size=3))
def test_all_revisions_count_together(found):
    windows = {str(at): window(*pair) for at, pair in enumerate(found)}
    told = of_windows(windows)
    for at, counts in enumerate((told.prompt, told.output)):
        assert sum(counts) == sum(sum(pair[at]) for pair in found)
    assert len(told.prompt) == (BUCKETS if found else 0)


def test_where_nobody_counted_or_in_other_buckets_there_are_none():
    assert of_windows({}) == NO_LENGTHS
    nothing = Window(since=0.0, until=1.0)
    foreign = Window(since=0.0, until=1.0, prompt_lengths=Histogram((1.0,), (3, 4)))
    assert of_windows({"a": nothing, "b": foreign}) == NO_LENGTHS
    ones = (1,) * BUCKETS
    assert of_windows({"a": nothing, "b": window(ones)}) == Lengths(prompt=ones, output=ones)
