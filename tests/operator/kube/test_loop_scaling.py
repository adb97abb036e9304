"""The loop with load: replicas follow it, the idlest pod ends, steady load writes nothing."""

from typing import Any

from kube_crash import Life, store_client
from kube_fixtures import IMAGE
from kube_store import Store, StoreClient
from operator_figures import Figures
from pagelet_operator.core.scaling.reading import ReplicaLoad
from pagelet_operator.kube.api import Api
from pagelet_operator.kube.loop import Controller
from pagelet_operator.kube.metrics import Metrics
from pagelet_operator.kube.runtime import KubeRuntime
from pagelet_operator.senses import Senses

SPEC: dict[str, Any] = {
    "model": {"source": "dummy://tiny"},
    "engine": {"maxNumSeqs": 8},
    "scaling": {"minReplicas": 1, "maxReplicas": 3, "scaleDown": {"window": "60s"}},
}


class Cluster(Life):
    """A life whose operator never dies and is told the load of each ready pod."""

    def __init__(self, spec: dict[str, Any]) -> None:
        store = Store()
        super().__init__(store, lambda: store_client(store), "n")
        self.store, self.figures, self.metrics = store, Figures({}), Metrics()
        self.start_operator()
        self.create(spec)

    def start_operator(self) -> None:
        """Begin with the memory that the status holds, and no other."""
        api = Api(StoreClient(self.store))  # type: ignore[arg-type]
        self.controller = Controller(
            api,
            KubeRuntime(api, engine_image=IMAGE),
            self.metrics,
            senses=Senses(telemetry=self.figures),
            clock=lambda: self.now,
        )

    async def look(self) -> dict[str, Any]:
        await self.controller.reconcile(self.ref)
        return self.status()

    def all_of(self, plural: str) -> list[dict[str, Any]]:
        return [item for (found, *_), item in self.store.items.items() if found == plural]

    async def under(self, *running: float, looks: int = 2) -> dict[str, Any]:
        """Look a few times, 15 s apart, while each ready pod computes so many sequences."""
        for _ in range(looks):
            self.now += 15.0
            urls = sorted(f"http://{pod['status']['podIP']}:8000" for pod in self.all_of("pods"))
            self.figures.told_loads = {
                url: ReplicaLoad(at=self.now, running=number, waiting=0.0, kv_usage=0.1)
                for url, number in zip(urls, running, strict=False)
            }
            await self.look()
        return self.status()


async def serving() -> tuple[Cluster, str]:
    cluster = Cluster(SPEC)
    await cluster.look()
    revision = cluster.canary()
    cluster.ready(revision)
    await cluster.look()
    return cluster, revision


def asked(cluster: Cluster) -> int:
    (deployment,) = cluster.all_of("deployments")
    return int(deployment["spec"]["replicas"])


async def test_load_starts_replicas_and_status_event_and_metric_say_why() -> None:
    cluster, _ = await serving()
    status = await cluster.under(7.0)
    assert asked(cluster) == status["scaling"]["replicas"] == 3
    assert status["scaling"]["reason"] == "LoadGrows"
    assert status["scaling"]["inputs"]["running"] == 7.0
    event = cluster.all_of("events")[-1]
    assert (event["reason"], event["note"][:6]) == ("LoadGrows", "1 -> 3")
    assert b'desired_replicas{name="chat",namespace="n",reason="LoadGrows"} 3.0' in (
        cluster.metrics.exposition()
    )


async def test_the_pod_with_the_fewest_streams_is_the_one_that_ends() -> None:
    cluster, revision = await serving()
    await cluster.under(7.0)
    cluster.ready(revision, 3)
    await cluster.look()
    by_url = {pod["status"]["podIP"]: pod["metadata"]["name"] for pod in cluster.all_of("pods")}
    busy, _, calm = (by_url[address] for address in sorted(by_url))
    status = await cluster.under(3.0, 0.0, 1.0, looks=8)
    assert status["scaling"]["reason"] == "LoadFell"
    assert {pod["metadata"]["name"] for pod in cluster.all_of("pods")} == {busy, calm}


async def test_a_steady_load_writes_nothing() -> None:
    cluster, _ = await serving()
    await cluster.under(2.0, looks=12)
    before = cluster.all_of("modeldeployments")[0]["metadata"]["resourceVersion"]
    for running in (2.0, 2.5, 1.5) * 6:
        await cluster.under(running, looks=1)
    after = cluster.all_of("modeldeployments")[0]["metadata"]["resourceVersion"]
    assert before == after


async def test_an_operator_that_starts_anew_keeps_the_number() -> None:
    cluster, _ = await serving()
    await cluster.under(7.0)
    cluster.start_operator()
    cluster.figures.told_loads = {}
    for _ in range(12):
        cluster.now += 15.0
        status = await cluster.look()
    assert (asked(cluster), status["scaling"]["reason"]) == (3, "DataNotUsable")


async def test_kubectl_scale_sets_a_floor_until_a_lower_number_is_set() -> None:
    cluster, revision = await serving()
    cluster.change({"scaling": {"minReplicas": 2}})
    await cluster.look()
    assert asked(cluster) == 2
    cluster.ready(revision, 2)
    await cluster.under(0.1, 0.1, looks=12)
    assert asked(cluster) == 2
    cluster.change({"scaling": {"minReplicas": 1}})
    await cluster.under(0.1, 0.1, looks=12)
    assert asked(cluster) == 1


async def test_another_scaler_is_obeyed() -> None:
    cluster = Cluster({**SPEC, "scaling": {"external": True, "minReplicas": 1}})
    await cluster.look()
    cluster.ready(cluster.canary())
    await cluster.look()
    cluster.change({"scaling": {"minReplicas": 5}})
    status = await cluster.look()
    assert asked(cluster) == 5
    assert "scaling" not in status
