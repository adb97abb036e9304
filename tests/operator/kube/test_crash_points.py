"""Wherever the operator is killed, the next one ends where an undisturbed one would.

A seeded sample over a store in memory runs always; `benchmarks/crash_points.py` runs every point
once, on a real API server, and writes the table in `benchmarks/results`.
"""

import random

import pytest

from kube_cluster import Cluster
from kube_crash import Killed, Life, Moment, Point, cluster_client, run, store_client
from kube_scenarios import SCENARIOS, Scenario
from kube_store import Store
from pagelet_operator.api import report
from pagelet_operator.kube.runtime import KubeRuntime

SAMPLE, SEED = 60, 20_261_123
"""How many points of all scenarios are tried, and which."""


async def lived(scenario: Scenario, point: Point | None) -> Life:
    store = Store()
    return await run(Life(store, lambda: store_client(store), "n"), scenario, point)


def drawn(writes: dict[str, int]) -> list[tuple[str, Point]]:
    """A sample of all points; every scenario and every moment is in it."""
    every = [
        (name, Point(write, moment))
        for name, count in writes.items()
        for write in range(1, count + 1)
        for moment in Moment
    ]
    return random.Random(SEED).sample(every, SAMPLE)


async def test_an_operator_killed_at_any_write_is_carried_on_by_the_next_one() -> None:
    calm = {name: await lived(scenario, None) for name, scenario in SCENARIOS.items()}
    sample = drawn({name: life.writes for name, life in calm.items()})
    assert {name for name, _ in sample} == set(SCENARIOS)
    for name, point in sample:
        life = await lived(SCENARIOS[name], point)
        assert life.deaths == 1, (name, point)
        assert life.end_state() == calm[name].end_state(), (name, point)


async def test_an_undisturbed_operator_dies_never_and_writes_nothing_twice() -> None:
    first, second = [await lived(SCENARIOS["promote"], None) for _ in range(2)]
    assert (first.deaths, first.writes) == (0, second.writes)
    assert first.end_state() == second.end_state()


async def test_a_timer_that_starts_anew_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    remember = report.state_from_status

    def forget_the_step(status: object) -> object:
        found = remember(status)  # type: ignore[arg-type]
        return type(found)(stable=found.stable, canary=found.canary, phase=found.phase)

    monkeypatch.setattr(report, "state_from_status", forget_the_step)
    with pytest.raises(AssertionError):
        await lived(SCENARIOS["promote"], Point(9, Moment.AFTER))


async def test_an_orphan_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def keep_all(*_: object) -> list[str]:
        return []

    tidy = (await lived(SCENARIOS["fail"], None)).end_state()
    monkeypatch.setattr(KubeRuntime, "_remove", keep_all)
    assert (await lived(SCENARIOS["fail"], None)).end_state() != tidy


@pytest.mark.cluster
@pytest.mark.parametrize("moment", Moment)
async def test_the_same_holds_on_a_real_api_server(
    cluster: Cluster, namespace: str, moment: Moment
) -> None:
    life = Life(cluster, lambda: cluster_client(cluster), namespace)
    await run(life, SCENARIOS["fail"], Point(5, moment))
    assert life.deaths == 1
    assert life.status()["rollout"]["phase"] == "Failed"
    assert life.status()["canary" if "canary" in life.status() else "stable"]["weight"] == 100


def test_nothing_of_the_operator_catches_its_own_death() -> None:
    assert not issubclass(Killed, Exception)
