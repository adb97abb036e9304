"""Lengths follow the distribution that is asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_bench.core.errors import UsageError
from pagelet_bench.core.lengths import Buckets
from pagelet_bench.core.sampler import stream

counts = st.lists(st.integers(0, 50), min_size=1, max_size=12).filter(any)
draws = st.floats(-8, 8)


@st.composite
def histograms(draw):
    found = draw(counts)
    steps = draw(st.lists(st.integers(1, 500), min_size=len(found), max_size=len(found)))
    bounds = [sum(steps[: n + 1]) for n in range(len(steps))]
    return Buckets(bounds=tuple(map(float, bounds)), counts=tuple(map(float, found)))


@given(histograms(), draws)
def test_a_length_lies_in_a_bucket_that_counted_something(histogram, z):
    length = histogram.at(z)
    edges = [0.0, *histogram.bounds]
    full = [(edges[n], edges[n + 1]) for n, count in enumerate(histogram.counts) if count]
    assert any(low <= length <= high for low, high in full), (length, full)
    assert length >= 1


@given(histograms(), draws, draws)
def test_a_larger_draw_never_gives_a_shorter_length(histogram, one, other):
    low, high = sorted((one, other))
    assert histogram.at(low) <= histogram.at(high)


def test_shares_of_lengths_are_those_of_the_histogram():
    histogram = Buckets(bounds=(10.0, 100.0, 1000.0), counts=(50.0, 30.0, 20.0))
    source = stream(1, "lengths")
    found = [histogram.at(source.normal()) for _ in range(4000)]
    shares = [sum(n <= bound for n in found) / len(found) for bound in (10, 100, 1000)]
    assert shares == pytest.approx([0.5, 0.8, 1.0], abs=0.03)


@pytest.mark.parametrize(
    ("bounds", "counts", "said"),
    [
        ((1.0, 1.0), (1.0, 1.0), "do not ascend"),
        ((2.0,), (1.0, 1.0), "do not ascend"),
        ((1.0, 2.0), (0.0, 0.0), "counted no request"),
        ((1.0, 2.0), (2.0, -1.0), "counted no request"),
    ],
)
def test_a_histogram_without_lengths_is_refused(bounds, counts, said):
    with pytest.raises(UsageError, match=said):
        Buckets(bounds=bounds, counts=counts)
