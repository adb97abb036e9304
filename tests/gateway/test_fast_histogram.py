from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from pagelet_gateway.fast_histogram import FastHistogram
from pagelet_gateway.metrics import ITL_BUCKETS_S


@given(st.lists(st.floats(0, 20) | st.sampled_from(ITL_BUCKETS_S), max_size=50))
def test_the_fast_histogram_says_what_the_librarys_says(values):
    slow_registry, fast_registry = CollectorRegistry(), CollectorRegistry()
    slow = Histogram("h", "Doc.", ("model",), buckets=ITL_BUCKETS_S, registry=slow_registry)
    fast = FastHistogram("h", "Doc.", ("model",), ITL_BUCKETS_S)
    fast_registry.register(fast)
    for value in values:
        slow.labels("m").observe(value)
        fast.labels("m").observe(value)
    lines = [
        [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]
        for registry in (slow_registry, fast_registry)
    ]
    assert lines[0] == lines[1]
