"""A few of the simulated rollouts; benchmarks/results holds all of them."""

import importlib.util
import sys
from pathlib import Path

from pagelet_operator.core.analysis import AnalysisPolicy

PATH = Path(__file__).parents[2] / "benchmarks" / "rollout_simulation.py"
spec = importlib.util.spec_from_file_location("rollout_simulation", PATH)
simulation = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = simulation
spec.loader.exec_module(simulation)

CANARIES = {canary.name: canary for canary in simulation.CANARIES}
POLICY = AnalysisPolicy()


def ends(canary: str, rate: float, seeds: range) -> list[str]:
    return [simulation.rollout(CANARIES[canary], rate, POLICY, seed).end for seed in seeds]


def test_good_canaries_are_not_withdrawn():
    assert ends("A/A", 20.0, range(100, 103)) == ["promoted"] * 3


def test_low_traffic_withdraws_nobody_and_promotes_nobody_unseen():
    assert ends("A/A", 0.2, range(100, 101)) == ["undecided"]


def test_canaries_that_fail_requests_are_never_promoted():
    assert "promoted" not in ends("5 % errors", 20.0, range(100, 102))


def test_a_slow_canary_is_withdrawn_before_it_has_served_many():
    """Although it idles at first, and is no slower there than stable under its load."""
    runs = [simulation.rollout(CANARIES["2x ITL"], 20.0, POLICY, seed) for seed in range(100, 106)]
    assert {run.end for run in runs} == {"withdrawn"}
    assert sum(run.served for run in runs) / sum(run.total for run in runs) < 0.08


def test_the_same_seed_is_the_same_rollout():
    runs = [simulation.rollout(CANARIES["2x ITL"], 5.0, POLICY, 7) for _ in range(2)]
    assert runs[0] == runs[1]
