"""Policies on traces: what is counted, and that ours holds the SLO with fewer replicas."""

import pytest

from pagelet_operator.simulation.command import policies
from pagelet_operator.simulation.engine import Hardware, Request
from pagelet_operator.simulation.fleet import Slo, simulate
from pagelet_operator.simulation.policies import Fixed
from pagelet_operator.simulation.traces import diurnal

HARDWARE, SLO = Hardware(), Slo()


def run(trace, policy, **more):
    return simulate(trace, policy, hardware=HARDWARE, slo=SLO, **more)


def test_a_fixed_fleet_costs_its_replicas_for_the_whole_time():
    trace = [Request(float(at), 100, 50) for at in range(0, 3600, 10)]
    result = run(trace, Fixed(4), start=4)
    assert result.in_slo == 1.0
    assert result.mean_replicas == pytest.approx(4.0)
    assert (result.peak_replicas, result.direction_changes) == (4, 0)


def test_too_small_a_fleet_breaks_its_promise():
    trace = [Request(at / 10, 100, 200) for at in range(3000)]
    assert run(trace, Fixed(1)).in_slo < 0.2


@pytest.mark.parametrize(
    ("trace", "said"),
    [([], "no request"), ([Request(5.0, 1, 1), Request(4.0, 1, 1)], "not in order")],
)
def test_a_trace_that_is_none_is_refused(trace, said):
    with pytest.raises(ValueError, match=said):
        run(trace, Fixed(1))


def test_over_a_day_ours_keeps_the_slo_with_fewer_replicas_than_a_fixed_fleet():
    trace = diurnal(1, 1.5, 10.0)
    ours, fixed = (run(trace, policy) for policy in policies(8, HARDWARE.places, SLO)[:2])
    assert (ours.policy, fixed.policy) == ("pagelet", "fixed")
    assert ours.in_slo >= 0.99
    assert ours.replica_hours < 0.8 * fixed.replica_hours


def test_the_same_seed_gives_the_same_result():
    trace = diurnal(3, 0.3, 6.0)
    first, second = ([run(trace, p) for p in policies(4, 16, SLO)] for _ in range(2))
    assert first == second
    assert {result.requests for result in first} == {len(trace)}
