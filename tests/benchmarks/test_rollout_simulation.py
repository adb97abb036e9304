"""A few of the simulated rollouts; benchmarks/results holds all of them."""

import importlib.util
import sys
from pathlib import Path

from pagelet_operator.api.rollout import Rollout
from pagelet_operator.core.analysis import AnalysisPolicy

PATH = Path(__file__).parents[2] / "benchmarks" / "rollout_simulation.py"
spec = importlib.util.spec_from_file_location("rollout_simulation", PATH)
simulation = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = simulation
spec.loader.exec_module(simulation)

CANARIES = {canary.name: canary for canary in simulation.CANARIES}
POLICY = AnalysisPolicy()
WEIGHTS = [step.weight for step in Rollout().steps]


def run(canary: str, rate: float, seed: int) -> "simulation.Run":
    return simulation.rollout(CANARIES[canary], rate, POLICY, WEIGHTS, seed)


def ends(canary: str, rate: float, seeds: range) -> list[str]:
    return [run(canary, rate, seed).end for seed in seeds]


def test_good_canaries_are_not_withdrawn():
    assert ends("A/A", 20.0, range(100, 103)) == ["promoted"] * 3


def test_low_traffic_withdraws_nobody_and_promotes_nobody_unseen():
    assert ends("A/A", 0.2, range(100, 101)) == ["undecided"]


def test_canaries_that_fail_requests_are_never_promoted():
    assert "promoted" not in ends("5 % errors", 20.0, range(100, 102))


def test_a_slow_canary_is_withdrawn_before_it_has_served_many():
    """Although it idles at first, and is no slower there than stable under its load."""
    runs = [run("2x ITL", 20.0, seed) for seed in range(100, 106)]
    assert {found.end for found in runs} == {"withdrawn"}
    assert sum(found.served for found in runs) / sum(found.total for found in runs) < 0.08


def test_the_same_seed_is_the_same_rollout():
    runs = [run("2x ITL", 5.0, 7) for _ in range(2)]
    assert runs[0] == runs[1]
