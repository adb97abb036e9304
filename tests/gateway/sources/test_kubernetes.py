"""The table of a live cluster: soon, whole, the same everywhere, kept through trouble."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry

from gateway_cluster import World
from gateway_process import until
from kube_cluster import Cluster
from kube_fixtures import operating
from kube_pods import eventually, make_ready, pods, set_ready
from pagelet_gateway.core.route_table import ModelRoute, RouteTable
from pagelet_gateway.sources.kube_api import load_configuration
from pagelet_gateway.sources.kubernetes import KubernetesSource
from pagelet_gateway.sources.metrics import SourceMetrics

pytestmark = pytest.mark.cluster

SECOND = 1.0


class Follower:
    """A gateway's source with a sink that remembers."""

    def __init__(self) -> None:
        self.table: RouteTable | None = None
        self.at = 0.0
        self.count = 0
        self.registry = CollectorRegistry()

    def offer(self, table: object) -> bool:
        assert isinstance(table, RouteTable)
        self.table, self.at, self.count = table, time.monotonic(), self.count + 1
        return True

    def route(self, model: str) -> ModelRoute | None:
        return self.table.models.get(model) if self.table else None

    def weights(self, model: str) -> dict[str, int]:
        route = self.route(model)
        return {item.name: item.weight for item in route.revisions} if route else {}

    def urls(self, model: str) -> tuple[str, ...]:
        route = self.route(model)
        return tuple(url for item in route.revisions for url in item.endpoints) if route else ()

    def value(self, series: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"pagelet_gateway_source_{series}", labels)


@asynccontextmanager
async def following(cluster: Cluster, *namespaces: str) -> AsyncIterator[Follower]:
    follower = Follower()
    configuration = await load_configuration(str(cluster.kubeconfig))
    metrics = SourceMetrics(follower.registry)
    source = KubernetesSource(configuration, namespaces, follower.offer, metrics)
    task = asyncio.create_task(source.run())
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def world(cluster: Cluster, namespace: str) -> World:
    return World(cluster, namespace)


async def timed(change: Callable[[], None], holds: Callable[[], bool], at: Follower) -> float:
    """Make a change and return after how many seconds the follower's table shows it."""
    await asyncio.to_thread(change)
    begun = time.monotonic()  # The server has answered: from here on others can see it.
    await until(holds)
    return max(0.0, at.at - begun)


async def test_weights_and_addresses_arrive_within_a_second(
    cluster: Cluster, world: World, namespace: str
) -> None:
    model = world.model("chat", {"chat-a": 100})
    world.pods("a-1", "chat-a", ["10.0.0.1"])
    async with following(cluster, namespace) as seen:
        await until(lambda: seen.urls(model) == ("http://10.0.0.1:8000",))
        waits = []
        for weight in range(1, 26):
            weights = {"chat-a": 100 - weight, "chat-b": weight}
            waits.append(
                await timed(
                    lambda w=weights: world.say("chat", world.traffic("chat", w)),
                    lambda w=weights: seen.weights(model) == w,
                    seen,
                )
            )
            address = f"10.0.1.{weight}"
            waits.append(
                await timed(
                    lambda a=address: world.pods("a-1", "chat-a", [a]),
                    lambda a=address: seen.urls(model) == (f"http://{a}:8000",),
                    seen,
                )
            )
        print(f"table follows: p50 {statistics.median(waits):.3f} s, max {max(waits):.3f} s")
        assert statistics.median(waits) < SECOND


async def test_two_gateways_reach_the_same_table_and_keep_it_while_the_server_is_away(
    cluster: Cluster, world: World, namespace: str
) -> None:
    model = world.model("chat", {"chat-a": 100})
    world.pods("a-1", "chat-a", ["10.0.0.2", "10.0.0.1"])
    async with following(cluster, namespace) as one, following(cluster) as two:
        await until(lambda: one.urls(model) != () and two.urls(model) != ())
        assert one.route(model) == two.route(model)

        await asyncio.to_thread(cluster.api.stop)
        try:
            await until(lambda: one.value(
                "watching", kind="modeldeployments", namespace=namespace) == 0)  # fmt: skip
            assert one.weights(model) == {"chat-a": 100}
        finally:
            cluster.start_api()
        world.say("chat", world.traffic("chat", {"chat-a": 90, "chat-b": 10}))
        world.pods("b-1", "chat-b", ["10.0.0.3"])
        expected = {"chat-a": 90, "chat-b": 10}
        await until(lambda: one.weights(model) == expected and len(one.urls(model)) == 3)
        await until(lambda: two.route(model) == one.route(model))
        assert one.value("watching", kind="modeldeployments", namespace=namespace) == 1
        errors = one.value("errors_total", kind="modeldeployments")
        assert errors
        assert errors < 100, "the server was asked too often while it was away"


async def test_one_bad_model_takes_no_other_away_and_keeps_its_last_good_form(
    cluster: Cluster, world: World, namespace: str
) -> None:
    good, bad = world.model("good", {"good-a": 100}), world.model("bad", {"bad-a": 100})
    async with following(cluster, namespace) as seen:
        await until(lambda: bool(seen.weights(good) and seen.weights(bad)))
        world.say("bad", world.traffic("bad", {"bad-a": 50, "bad-b": 49}))
        await until(lambda: seen.value("models_troubled") == 1)
        world.pods("b-1", "bad-a", ["10.0.0.9"])
        world.say("good", world.traffic("good", {"good-a": 0, "good-b": 100}))
        await until(lambda: seen.weights(good) == {"good-a": 0, "good-b": 100})
        await until(lambda: seen.urls(bad) == ("http://10.0.0.9:8000",))
        assert seen.weights(bad) == {"bad-a": 100}

        world.say("bad", world.traffic("bad", {"bad-a": 50, "bad-b": 50}))
        await until(lambda: seen.weights(bad) == {"bad-a": 50, "bad-b": 50})
        await until(lambda: seen.value("models_troubled") == 0)
        world.delete_model("bad")
        await until(lambda: seen.route(bad) is None)


async def test_keys_follow_their_secret_and_survive_its_loss(
    cluster: Cluster, world: World, namespace: str
) -> None:
    ref = {"name": "keys", "key": "team"}
    world.secret("keys", team="first-key\nsecond-key\n")
    world.secret("gate", key="k" * 40)
    model = world.model(
        "chat",
        {"chat-a": 100},
        tenants=[{"name": "team", "apiKeySecretRef": ref}],
        gatewayKeySecretRef={"name": "gate", "key": "key"},
    )

    def hashes(seen: Follower) -> int:
        route = seen.route(model)
        return len(route.tenants[0].key_hashes) if route and route.tenants else -1

    async with following(cluster, namespace) as seen:
        await until(lambda: seen.route(model) is not None)
        assert seen.count == 1 or hashes(seen) == 2, "a new model waits for its keys"
        assert hashes(seen) == 2
        route = seen.route(model)
        assert route is not None
        assert route.gateway_key == "k" * 40
        assert "k" * 40 not in repr(route)

        world.secret("keys", team="second-key")
        await until(lambda: hashes(seen) == 1)
        world.delete_secret("keys")
        await until(lambda: seen.value("keys_troubled") == 1)
        assert hashes(seen) == 1
        world.secret("keys", team="")
        await until(lambda: hashes(seen) == 0)


async def test_pods_that_an_operator_made_are_found_by_their_endpoint_slices(
    cluster: Cluster, namespace: str
) -> None:
    steps = {"steps": [{"weight": 10, "hold": "30s"}]}
    spec = {"model": {"name": f"{namespace}-m", "source": "dummy://tiny"}, "rollout": steps}
    async with operating(cluster, namespace) as operator, following(cluster) as seen:
        operator.create(spec)
        old = (await operator.turn())["rollout"]["canary"]
        bind(cluster, namespace, old)
        (address,) = make_ready(cluster, namespace, old)
        await operator.turn()
        await until(lambda: seen.urls(f"{namespace}-m") == (f"http://{address}:8000",))
        route = seen.route(f"{namespace}-m")
        assert route is not None
        assert len(route.gateway_key or "") == 44
        assert route.resource == f"{namespace}/chat"

        operator.change({"engine": {"maxModelLen": 64}})
        new = (await operator.turn())["rollout"]["canary"]
        bind(cluster, namespace, new)
        make_ready(cluster, namespace, new)
        await operator.turn()
        await until(lambda: seen.weights(f"{namespace}-m") == {old: 90, new: 10})
        await until(lambda: len(seen.urls(f"{namespace}-m")) == 2)
        (pod,) = pods(cluster, namespace, new)
        set_ready(cluster, pod, ready=False)
        await until(lambda: len(seen.urls(f"{namespace}-m")) == 1)


async def test_two_resources_of_one_model_name_are_decided_by_age(
    cluster: Cluster, world: World, namespace: str
) -> None:
    model = world.model("chat", {"chat-a": 100})
    time.sleep(1.1)  # noqa: ASYNC251 - creation times are whole seconds.
    world.model("copy", {"copy-a": 100}, name=model)
    async with following(cluster, namespace) as seen:
        await until(lambda: seen.value("models_troubled") == 1)
        assert seen.weights(model) == {"chat-a": 100}
        world.delete_model("chat")
        await until(lambda: seen.weights(model) == {"copy-a": 100})


def bind(cluster: Cluster, namespace: str, revision: str) -> None:
    """Put the revision's pods on a node, as a scheduler would: slices hold no others."""
    cluster.request("POST", "/api/v1/nodes", {"metadata": {"name": "node"}})
    for pod in eventually(lambda: pods(cluster, namespace, revision), "a pod"):
        name = pod["metadata"]["name"]
        path = f"/api/v1/namespaces/{namespace}/pods/{name}/binding"
        body = {
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
            "target": {"kind": "Node", "name": "node"},
        }  # fmt: skip
        status, answer = cluster.request("POST", path, body)
        assert status == 201, answer
