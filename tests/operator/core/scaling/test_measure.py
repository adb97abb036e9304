"""A reading is worth what arrives, not what piles up."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.scaling import ScalingPolicy, Seen, Targets
from pagelet_operator.core.scaling.measure import MAX_CATCH_UP, MAX_RISE, measure, missed_target

POLICY = ScalingPolicy(max_replicas=8, targets=Targets(ttft_p99_s=1.0, itl_p99_s=0.05))
CALM = Seen(
    ready=2, at=0.0, answered=2, running=40.0, served_per_s=4.0, in_flight=40.0, ttft_p99_s=0.2
)


def measured(readings, policy=POLICY):
    """Return the samples of readings, one interval apart."""
    samples = []
    for index, seen in enumerate(readings):
        now = index * policy.interval_s
        samples.append(measure(replace(seen, at=now), samples, policy, now))
    return samples


def test_without_a_queue_the_demand_is_what_is_computed():
    assert measured([CALM])[0].demand == 40.0
    assert measured([CALM])[0].catch_up == 0.0


def test_a_growing_queue_asks_for_the_same_from_beginning_to_end():
    # 128 places serve 12.8 requests a second; 25.6 arrive, so 12.8 more wait each second.
    full = Seen(ready=2, at=0.0, answered=2, running=128.0, served_per_s=12.8)
    readings = [replace(full, waiting=12.8 * 15.0 * index) for index in range(40)]
    demands = [sample.demand for sample in measured(readings)[5:]]
    assert demands == pytest.approx([256.0] * len(demands))


def test_a_queue_that_is_worked_off_asks_for_what_still_arrives():
    full = Seen(ready=2, at=0.0, answered=2, running=128.0, served_per_s=12.8)
    readings = [replace(full, waiting=3000.0 - 6.4 * 15.0 * index) for index in range(20)]
    demands = [sample.demand for sample in measured(readings)[5:]]
    assert demands == pytest.approx([64.0] * len(demands))


def test_requests_that_run_out_of_time_beside_a_queue_are_demand():
    full = Seen(ready=1, at=0.0, answered=1, running=64.0, served_per_s=6.4, waiting=10.0)
    lost = replace(full, unserved_per_s=3.2)
    assert measured([lost] * 6)[-1].demand == pytest.approx(96.0)


def test_requests_that_fail_beside_an_empty_queue_are_no_demand():
    assert measured([replace(CALM, unserved_per_s=9.0)])[0].demand == 40.0


def test_a_queue_that_nobody_serves_counts_at_most_twice():
    stuck = Seen(ready=1, at=0.0, answered=1, running=64.0, waiting=500.0)
    assert measured([stuck])[0].demand == 128.0


def test_a_reading_is_low_only_if_every_signal_is():
    assert measured([CALM])[0].low
    for change in (
        {"ttft_p99_s": 0.9}, {"itl_p99_s": 0.045}, {"waiting": 3.0}, {"answered": 1},
        {"in_flight": 100.0},
    ):  # fmt: skip
        assert not measured([replace(CALM, **change)])[0].low, change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ttft_p99_s": 1.01}, "TtftAboveTarget"),
        ({"itl_p99_s": 0.051}, "ItlAboveTarget"),
        ({"waiting": 4.1}, "QueueAboveTarget"),
        ({"waiting": 4.0}, None),
    ],
)
def test_the_missed_target_is_named(change, reason):
    assert missed_target(replace(CALM, **change), POLICY.targets) == reason


def test_idle_means_that_nobody_saw_a_request():
    nothing = Seen(ready=1, at=0.0, answered=1)
    assert measured([nothing])[0].idle
    for change in ({"in_flight": 0.1}, {"held": 1}, {"answered": 0}, {"unserved_per_s": 0.1}):
        assert not measured([replace(nothing, **change)])[0].idle, change


@given(
    readings=st.lists(
        st.builds(
            Seen,
            ready=st.integers(1, 9),
            running=st.floats(0, 1e4),
            waiting=st.floats(0, 1e6),
            served_per_s=st.floats(0, 1e3),
            unserved_per_s=st.floats(0, 1e3),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_a_demand_is_bounded_by_what_is_computed(readings):
    for seen, sample in zip(readings, measured(readings), strict=True):
        assert 0 <= sample.demand <= MAX_RISE * max(1.0, seen.running)
        assert 0 <= sample.catch_up <= MAX_CATCH_UP * sample.demand
