"""Whoever has the fewest streams ends first."""

from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.scaling import victims

NAMES = st.sets(st.sampled_from([f"http://10.0.0.{n}:8000" for n in range(8)]))


def test_the_replica_with_the_fewest_streams_ends_first():
    assert victims(["a", "b", "c"], {"a": 3, "b": 0, "c": 7}, 2) == ("b", "a")


def test_a_replica_that_did_not_tell_is_taken_last():
    assert victims(["a", "b", "c"], {"a": 30, "c": 7}, 2) == ("c", "a")


@given(
    endpoints=NAMES,
    known=st.dictionaries(st.sampled_from("abc"), st.floats(0, 9)),
    count=st.integers(-1, 9),
)
def test_each_is_named_once_and_no_more_than_asked_for(endpoints, known, count):
    found = victims(endpoints, known, count)
    assert len(found) == min(len(endpoints), max(0, count))
    assert len(set(found)) == len(found)
    assert set(found) <= endpoints


@given(endpoints=NAMES, data=st.data(), count=st.integers(0, 8))
def test_nobody_who_stays_has_fewer_streams_than_one_who_ends(endpoints, data, count):
    streams = {name: data.draw(st.integers(0, 5)) for name in sorted(endpoints)}
    ending = victims(endpoints, streams, count)
    staying = endpoints - set(ending)
    assert all(streams[e] <= streams[s] for e in ending for s in staying)
