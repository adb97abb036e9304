"""A few of the simulated rollouts; benchmarks/results holds all of them."""

import importlib.util
import sys
from pathlib import Path

import pytest

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
    found = ends("A/A", 20.0, range(100, 106))
    assert "withdrawn" not in found
    assert found.count("promoted") >= 5


def test_low_traffic_withdraws_nobody_and_promotes_nobody_unseen():
    assert ends("A/A", 0.2, range(100, 103)) == ["undecided"] * 3


@pytest.mark.parametrize("canary", ["2x ITL", "5 % errors"])
def test_bad_canaries_are_never_promoted(canary):
    assert "promoted" not in ends(canary, 20.0, range(100, 104))


def test_the_same_seed_is_the_same_rollout():
    runs = [simulation.rollout(CANARIES["2x ITL"], 5.0, POLICY, 7) for _ in range(2)]
    assert runs[0] == runs[1]
