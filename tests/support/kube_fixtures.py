"""Fixtures of tests that talk to a real API server; skipped where its binaries are not."""

import itertools
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import kube_cluster
from kube_cluster import Cluster
from pagelet_operator.core.model import ModelRef
from pagelet_operator.kube.api import connect, load_configuration
from pagelet_operator.kube.crd import crd
from pagelet_operator.kube.gate_jobs import JobGates
from pagelet_operator.kube.loop import Controller
from pagelet_operator.kube.metrics import Metrics
from pagelet_operator.kube.runtime import KubeRuntime
from pagelet_operator.ports import Telemetry
from pagelet_operator.senses import Senses

IMAGE = "example.org/engine:1"
MODELS = "/apis/pagelet.dev/v1alpha1/namespaces/{}/modeldeployments"

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane that knows ModelDeployments."""
    binaries = kube_cluster.assets()
    if binaries is None:
        pytest.skip("KUBEBUILDER_ASSETS is not set to a folder with etcd and kube-apiserver")
    folder = tmp_path_factory.mktemp("cluster")
    with kube_cluster.running(folder, Path(binaries), establish) as found:
        yield found


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A namespace of the test's own, where pods may be created."""
    name = f"test-{next(_numbers)}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    assert cluster.request("POST", "/api/v1/namespaces", body)[0] == 201
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    _wait(lambda: cluster.request("GET", account)[0] == 200)
    return name


def establish(cluster: Cluster) -> None:
    """Create the CRD and wait until the server serves it."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    status, body = cluster.request("POST", path, crd())
    assert status == 201, body
    _wait(lambda: cluster.request("GET", "/apis/pagelet.dev/v1alpha1")[0] == 200)
    _wait(lambda: cluster.request("GET", MODELS.format("default"))[0] == 200)


class Operator:
    """The control loop of one model, driven by the test: its own clock, no watches."""

    def __init__(self, cluster: Cluster, controller: Controller, ref: ModelRef) -> None:
        self.cluster, self.controller, self.ref = cluster, controller, ref
        self.now = 1_800_000_000.0

    @property
    def path(self) -> str:
        return f"{MODELS.format(self.ref.namespace)}/{self.ref.name}"

    async def turn(self) -> dict[str, Any]:
        """Reconcile once and return the status."""
        await self.controller.reconcile(self.ref)
        return self.status()

    def status(self) -> dict[str, Any]:
        return self.cluster.get(self.path).get("status", {})

    def condition(self, kind: str) -> dict[str, Any]:
        return next(c for c in self.status()["conditions"] if c["type"] == kind)

    def create(self, spec: dict[str, Any]) -> None:
        status, body = self.cluster.request("POST", self.path.rpartition("/")[0], {
            "apiVersion": "pagelet.dev/v1alpha1", "kind": "ModelDeployment",
            "metadata": {"name": self.ref.name}, "spec": spec,
        })  # fmt: skip
        assert status == 201, body

    def change(self, spec: dict[str, Any]) -> None:
        status, body = self.cluster.request(
            "PATCH", self.path, {"spec": spec}, kind="application/merge-patch+json"
        )
        assert status == 200, body

    def objects(self, resource: str) -> dict[str, dict[str, Any]]:
        """Return the namespace's objects, such as of `apps/v1/deployments`, by name."""
        group, _, plural = resource.rpartition("/")
        root = "/apis" if "/" in group else "/api"
        found = self.cluster.get(f"{root}/{group}/namespaces/{self.ref.namespace}/{plural}")
        return {item["metadata"]["name"]: item for item in found["items"]}

    def versions(self) -> dict[str, str]:
        """Return the resource version of everything the operator may write."""
        kinds = ("apps/v1/deployments", "apps/v1/controllerrevisions", "v1/services",
                 "pagelet.dev/v1alpha1/modeldeployments", "events.k8s.io/v1/events")  # fmt: skip
        return {
            f"{kind}/{name}": item["metadata"]["resourceVersion"]
            for kind in kinds
            for name, item in self.objects(kind).items()
            # Other controllers tell of their own objects, and count repetitions.
            if item.get("regarding", {}).get("kind", "ModelDeployment") == "ModelDeployment"
        }


@asynccontextmanager
async def operating(
    cluster: Cluster,
    namespace: str,
    name: str = "chat",
    *,
    now: float | None = None,
    telemetry: Telemetry | None = None,
) -> AsyncIterator[Operator]:
    """A fresh operator process in all but the process: nothing is remembered from another."""
    configuration = await load_configuration(str(cluster.operator_kubeconfig))
    async with connect(configuration) as api:
        runtime = KubeRuntime(api, engine_image=IMAGE)
        holder: list[Operator] = []
        senses = Senses(telemetry=telemetry, gates=JobGates(api, IMAGE))
        controller = Controller(api, runtime, Metrics(), senses=senses, clock=lambda: holder[0].now)
        operator = Operator(cluster, controller, ModelRef(namespace, name))
        operator.now = now or operator.now
        holder.append(operator)
        yield operator


def _wait(claim: Any) -> None:
    deadline = time.monotonic() + 60
    while not claim():
        assert time.monotonic() < deadline, "the cluster did not get there"
        time.sleep(0.05)
