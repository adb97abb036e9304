import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from pagelet_gateway.fast_histogram import FastHistogram
from pagelet_gateway.metrics import ITL_BUCKETS_S

VALUES = st.floats(0, 20) | st.sampled_from(ITL_BUCKETS_S)


@given(st.lists(st.tuples(VALUES, st.integers(1, 3)), max_size=50))
def test_the_fast_histogram_says_what_the_librarys_says(values):
    slow_registry, fast_registry = CollectorRegistry(), CollectorRegistry()
    slow = Histogram("h", "Doc.", ("model",), buckets=ITL_BUCKETS_S, registry=slow_registry)
    fast = FastHistogram("h", "Doc.", ("model",), ITL_BUCKETS_S)
    fast_registry.register(fast)
    for value, times in values:
        for _ in range(times):
            slow.labels("m").observe(value)
        fast.labels("m").observe(value, times)
    said = [samples(registry) for registry in (slow_registry, fast_registry)]
    assert said[0].keys() == said[1].keys()
    # Summed in another order, the last bit may differ.
    assert said[0] == pytest.approx(said[1])


def test_counts_are_per_bucket_and_a_series_never_observed_has_none():
    histogram = FastHistogram("h", "Doc.", ("model",), (1.0, 2.0))
    for value in (0.5, 1.5, 1.6, 9.0):
        histogram.labels("m").observe(value)
    assert histogram.counts_of("m") == (1, 2, 1)
    assert histogram.counts_of("other") is None
    assert list(histogram.counts()) == [(("m",), (1, 2, 1))]


def samples(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    return {
        (sample.name, str(sample.labels)): sample.value
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
