"""The loop with figures: users withdraw a canary, and reading figures writes next to nothing."""

from typing import Any

from kube_crash import Life, store_client
from kube_fixtures import IMAGE
from kube_store import Store, StoreClient
from operator_figures import Figures
from pagelet_operator.core.window import Histogram, Window
from pagelet_operator.kube.api import Api
from pagelet_operator.kube.loop import Controller
from pagelet_operator.kube.metrics import Metrics
from pagelet_operator.kube.runtime import KubeRuntime
from pagelet_operator.senses import Senses

SPEC: dict[str, Any] = {
    "model": {"source": "dummy://tiny"},
    "rollout": {"steps": [{"weight": 5, "hold": "60s"}]},
}


class Cluster(Life):
    """A life whose operator never dies and reads figures."""

    def __init__(self) -> None:
        store = Store()
        super().__init__(store, lambda: store_client(store), "n")
        self.store, self.figures = store, Figures({})
        runtime = KubeRuntime(Api(StoreClient(store)), engine_image=IMAGE)  # type: ignore[arg-type]
        self.controller = Controller(
            Api(StoreClient(store)),  # type: ignore[arg-type]
            runtime,
            Metrics(),
            senses=Senses(telemetry=self.figures),
            clock=lambda: self.now,
        )

    async def look(self) -> dict[str, Any]:
        await self.controller.reconcile(self.ref)
        return self.status()

    def events(self) -> list[str]:
        found = [item for (plural, *_), item in self.store.items.items() if plural == "events"]
        return [item["reason"] for item in found]


def window(requests: int, errors: int = 0) -> Window:
    return Window(
        since=0.0, until=60.0, requests=requests, errors=errors,
        ttft=Histogram((0.1, 0.2), (0, requests, 0)),
        itl=Histogram((0.01, 0.02), (0, 20 * requests, 0)),
    )  # fmt: skip


async def on_trial() -> tuple[Cluster, str, str]:
    cluster = Cluster()
    cluster.create(SPEC)
    await cluster.look()
    stable = cluster.canary()
    cluster.ready(stable)
    await cluster.look()
    cluster.change({"engine": {"maxModelLen": 64}})
    await cluster.look()
    canary = cluster.canary()
    cluster.ready(canary)
    assert (await cluster.look())["canary"]["weight"] == 5
    return cluster, stable, canary


async def test_a_canary_that_fails_its_users_is_withdrawn_and_the_event_says_why() -> None:
    cluster, stable, canary = await on_trial()
    cluster.figures.told = {stable: window(2000), canary: window(100, errors=50)}
    for _ in range(2):
        cluster.now += 15
        status = await cluster.look()
    assert status["rollout"]["failed"] == canary
    assert next(item["weight"] for item in status["traffic"]["revisions"]) == 100
    assert "errorRate 50 %" in status["rollout"]["message"]
    assert cluster.events()[-1] == "AnalysisFailed"


async def test_a_canary_nobody_asks_is_neither_promoted_nor_withdrawn_but_paused() -> None:
    cluster, stable, _ = await on_trial()
    cluster.figures.told = {stable: window(2000)}
    for _ in range(100):
        cluster.now += 15
        status = await cluster.look()
    assert status["stable"]["revision"] == stable
    assert status["canary"]["weight"] == 5
    assert status["rollout"]["paused"]["reason"] == "Inconclusive"


async def test_an_outage_of_the_figures_is_an_error_and_harms_nobody() -> None:
    cluster, stable, _ = await on_trial()
    cluster.figures.told = None
    cluster.now += 75
    status = await cluster.look()
    assert status["rollout"]["assessment"]["verdict"] == "Error"
    assert (status["stable"]["revision"], status["canary"]["weight"]) == (stable, 5)


async def test_figures_are_written_once_a_minute_however_often_a_look_comes() -> None:
    cluster, stable, _ = await on_trial()
    cluster.change({"engine": {"maxModelLen": None}})
    await cluster.look()
    cluster.now += 3600
    await cluster.look()
    versions = set()
    for number in range(300):
        cluster.figures.told = {stable: window(1000 + number)}
        cluster.now += 0.4
        await cluster.look()
        versions.add(cluster.place.get(cluster.path)["metadata"]["resourceVersion"])
    assert len(versions) <= 4, "two minutes of looks"
    assert cluster.status()["figures"]["stable"]["ttftP99"] == "200 ms"
