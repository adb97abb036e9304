"""What the live traffic needs is never said too low for want of figures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.api.engine import EngineSettings
from pagelet_operator.core.demand import DEFAULT_PLACES, needed_replicas, places_of
from pagelet_operator.core.window import Window


def a_window(in_flight: float = 0.0, span: float = 300.0, **more) -> Window:
    counted = {"requests": 1 if in_flight else 0, **more}
    return Window(since=0.0, until=span, request_seconds=in_flight * span, **counted)


@pytest.mark.parametrize(
    ("in_flight", "needed"), [(0.0, 0), (1.0, 1), (16.0, 1), (20.0, 2), (64.0, 3), (500.0, 4)]
)
def test_it_follows_the_requests_in_flight_with_room_for_bursts(in_flight, needed):
    assert needed_replicas([a_window(in_flight)], places=64, replicas=4) == needed


def test_revisions_count_together():
    both = [a_window(10.0), a_window(54.0)]
    assert needed_replicas(both, 64, 4) == needed_replicas([a_window(64.0)], 64, 4)


def test_nothing_measured_or_too_short_says_nothing():
    assert needed_replicas([], 64, 4) is None
    assert needed_replicas([a_window(span=30.0)], 64, 4) is None


def test_a_queue_spares_nobody():
    waiting = a_window(1.0, queue_samples=10, queue_sum=6.0)
    assert needed_replicas([waiting], 64, 4) == 4
    assert needed_replicas([a_window(1.0, queue_samples=10, queue_sum=5.0)], 64, 4) == 1


def test_requests_that_all_failed_spare_nobody():
    failed = Window(since=0.0, until=300.0, requests=9, errors=9)
    assert needed_replicas([failed], 64, 4) == 4


@given(st.floats(0, 1e4), st.floats(0, 1e4), st.integers(1, 512), st.integers(1, 50))
def test_more_traffic_never_needs_less_and_never_more_than_all(one, other, places, replicas):
    low, high = sorted((one, other))
    first = needed_replicas([a_window(low)], places, replicas)
    second = needed_replicas([a_window(high)], places, replicas)
    assert first <= second <= replicas


def test_places_are_the_templates_or_the_schemas_default():
    assert places_of({"engine": {"maxNumSeqs": 8}}) == 8
    assert places_of({"model": {}}) == DEFAULT_PLACES == EngineSettings().max_num_seqs
