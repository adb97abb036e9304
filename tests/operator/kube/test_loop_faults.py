"""The control loop when the API server fails it: nothing is lost, all of it is tried again."""

import asyncio
import contextlib
import time
from typing import Any

import kmock
import pytest
from kubernetes.aio.client import Configuration

from kube_cluster import Cluster
from kube_fixtures import IMAGE, Operator, operating
from kube_flaky import FlakyClient
from kube_pods import make_ready
from operator_resources import resource
from pagelet_operator.kube import loop
from pagelet_operator.kube.api import Api, ConflictError, connect, load_configuration
from pagelet_operator.kube.loop import Controller
from pagelet_operator.kube.metrics import Metrics
from pagelet_operator.kube.runtime import KubeRuntime
from pagelet_operator.ports import UnavailableError

pytestmark = pytest.mark.kmock(cls=kmock.RawHandler)

ROOT = "/apis/pagelet.dev/v1alpha1"
ONE = f"{ROOT}/namespaces/n/modeldeployments/chat"


async def turn(operator: Operator) -> dict[str, Any]:
    """Reconcile as often as it takes, as the loop would."""
    for _ in range(200):
        try:
            return await operator.turn()
        except (UnavailableError, ConflictError):
            continue
    raise AssertionError("it never got through")


@pytest.mark.cluster
@pytest.mark.parametrize("carried_out", [False, True], ids=["request lost", "answer lost"])
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_rollout_ends_the_same_however_often_requests_or_answers_are_lost(
    cluster: Cluster, namespace: str, seed: int, carried_out: bool
) -> None:
    configuration = await load_configuration(str(cluster.operator_kubeconfig))
    flaky = FlakyClient(configuration, share=0.15, carried_out=carried_out, seed=seed)
    async with flaky, operating(cluster, namespace) as operator:
        api = Api(flaky)
        runtime = KubeRuntime(api, engine_image=IMAGE)
        operator.controller = Controller(api, runtime, Metrics(), clock=lambda: operator.now)
        operator.create({
            "model": {"source": "dummy://tiny"},
            "rollout": {
                "steps": [{"weight": 50, "hold": "30s"}], "retainStable": "60s",
                "analysis": {"metrics": []},
            },
        })  # fmt: skip
        old = (await turn(operator))["rollout"]["canary"]
        make_ready(cluster, namespace, old)
        await turn(operator)
        operator.change({"engine": {"maxModelLen": 64}})
        new = (await turn(operator))["rollout"]["canary"]
        make_ready(cluster, namespace, new)
        weights = []
        for _ in range(4):
            status = await turn(operator)
            weights.append([item["weight"] for item in status["traffic"]["revisions"]])
            operator.now += 31
        assert flaky.lost > 5
        assert weights == [[50, 50], [100, 0], [100, 0], [100]]
        assert set(operator.objects("apps/v1/deployments")) == {new}
        assert set(operator.objects("v1/services")) == {new, "chat"}


@contextlib.asynccontextmanager
async def controlling(kmock: kmock.RawHandler) -> Any:
    """A running controller of an emulated API server; ends with the context."""
    async with connect(Configuration(host=str(kmock.url).rstrip("/"))) as api:
        metrics = Metrics()
        controller = Controller(api, KubeRuntime(api, engine_image=IMAGE), metrics)
        task = asyncio.create_task(controller.run())
        try:
            yield controller, metrics
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def a_model() -> dict[str, Any]:
    """A resource that is refused, so that a look at it is one read and one status write."""
    document = resource(model={"source": "pvc://Weights/x"})
    meta = {"namespace": "n", "uid": "u", "resourceVersion": "1", "generation": 1}
    return document | {"metadata": document["metadata"] | meta}


async def until(claim: Any) -> None:
    deadline = time.monotonic() + 30
    while not claim():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.02)


def serve_model(kmock: kmock.RawHandler) -> None:
    kmock[f"get {ROOT}/modeldeployments"] << {"metadata": {}, "items": [a_model()]}
    kmock[f"get {ONE}"] << a_model()
    kmock["post /apis/events.k8s.io/v1/namespaces/n/events"] << {"kind": "Event"}


@pytest.mark.parametrize(
    ("status", "headers", "kind", "at_least_s"),
    [
        (409, {}, "Conflict", 0.1),
        (404, {}, "Conflict", 0.1),
        (500, {}, "Unavailable", 0.5),
        (429, {"Retry-After": "1"}, "Unavailable", 1.0),
    ],
)
async def test_a_status_write_that_fails_is_repeated_from_a_fresh_read(
    kmock: kmock.RawHandler, status: int, headers: dict[str, str], kind: str, at_least_s: float
) -> None:
    times: list[float] = []

    def note() -> dict[str, str]:
        times.append(time.monotonic())
        return {"message": "noted"}

    serve_model(kmock)
    kmock[f"put {ONE}/status"][:1] << status << headers << note
    kmock[f"put {ONE}/status"] << note
    async with controlling(kmock) as (_, metrics):
        await until(lambda: len(times) >= 2)
        await until(lambda: b"last_success_timestamp_seconds{" in metrics.exposition())
    assert times[1] - times[0] >= at_least_s * 0.9
    assert len(kmock[f"get {ONE}"]) >= 2, "the second try was decided on a fresh read"
    assert f'errors_total{{kind="{kind}"}} 1.0'.encode() in metrics.exposition()


async def test_an_event_that_cannot_be_posted_costs_nothing_but_the_event(
    kmock: kmock.RawHandler, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", loop.__name__)
    kmock[f"get {ROOT}/modeldeployments"] << {"metadata": {}, "items": [a_model()]}
    kmock[f"get {ONE}"] << a_model()
    kmock[f"put {ONE}/status"] << {"kind": "ModelDeployment"}
    kmock["post /apis/events.k8s.io/v1/namespaces/n/events"] << 403 << {"message": "no"}
    async with controlling(kmock) as (_, metrics):
        await until(lambda: b"last_success_timestamp_seconds{" in metrics.exposition())
    assert any(line.startswith("n/chat: Invalid: ") for line in caplog.messages)
    assert any(line.startswith("n/chat: event not posted: ") for line in caplog.messages)


async def test_a_list_that_fails_is_repeated_and_readiness_waits_for_it(
    kmock: kmock.RawHandler,
) -> None:
    lists = kmock[f"get {ROOT}/modeldeployments"]
    lists[:2] << 503 << {"message": "not yet"}
    lists << {"metadata": {}, "items": []}
    async with controlling(kmock) as (controller, _):
        assert controller.listed_at is None
        await until(lambda: controller.listed_at is not None)
    assert len(lists) == 3


async def test_a_bug_in_one_look_does_not_end_the_loop(kmock: kmock.RawHandler) -> None:
    broken = a_model()
    del broken["metadata"]["generation"]
    broken["metadata"]["name"] = 5  # Nothing the API server would send: our own code breaks.
    kmock[f"get {ROOT}/modeldeployments"] << {"metadata": {}, "items": [a_model()]}
    kmock[f"get {ONE}"] << broken
    async with controlling(kmock) as (controller, metrics):
        await until(lambda: b'errors_total{kind="Bug"} 2.0' in metrics.exposition())
        assert controller.queue.oldest_wait_s() < 5


async def test_everything_is_looked_at_again_but_not_all_at_once(
    kmock: kmock.RawHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "RESYNC_S", 0.5)
    items = [a_model() for _ in range(5)]
    for index, item in enumerate(items):
        item["metadata"] = item["metadata"] | {"name": f"chat-{index}"}
        kmock[f"get {ROOT}/namespaces/n/modeldeployments/chat-{index}"] << 404 << {"message": "no"}
    lists = kmock[f"get {ROOT}/modeldeployments"]
    lists << {"metadata": {}, "items": items}
    async with controlling(kmock) as (controller, _):
        await until(lambda: len(lists) == 2)
        # The first one of the second list is due at once, the last one in 0.4 s.
        assert len(controller.queue) >= 3
        await until(lambda: all(len(kmock[f"get {ROOT}/namespaces/n/modeldeployments/chat-{i}"])
                                >= 2 for i in range(5)))  # fmt: skip
