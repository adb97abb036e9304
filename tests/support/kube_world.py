"""A cluster as a world of the runtime contract: two ModelDeployments own what is applied."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kube_cluster import Cluster
from kube_fixtures import IMAGE, MODELS
from kube_pods import eventually, make_ready
from pagelet_operator.core.model import Model
from pagelet_operator.kube.api import connect, load_configuration
from pagelet_operator.kube.runtime import KubeRuntime

NAMES = ("chat", "other")


class KubeWorld:
    def __init__(self, cluster: Cluster, runtime: KubeRuntime) -> None:
        self._cluster, self.runtime = cluster, runtime

    async def become_ready(self, model: Model, revision: str) -> None:
        seen = (await self.runtime.observe(model.ref)).revisions[revision]
        await asyncio.to_thread(
            make_ready, self._cluster, model.ref.namespace, revision, seen.replicas
        )


@asynccontextmanager
async def kube_world(cluster: Cluster) -> AsyncIterator[KubeWorld]:
    for name in NAMES:
        _create(cluster, name)
    configuration = await load_configuration(str(cluster.operator_kubeconfig))
    async with connect(configuration) as api:
        yield KubeWorld(cluster, KubeRuntime(api, engine_image=IMAGE))
    for name in NAMES:
        cluster.request("DELETE", f"{MODELS.format('default')}/{name}")
    eventually(lambda: not _children(cluster), "the models' objects are collected")


def _create(cluster: Cluster, name: str) -> None:
    body = {
        "apiVersion": "pagelet.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name},
        "spec": {"model": {"source": "dummy://tiny"}},
    }
    status, answer = cluster.request("POST", MODELS.format("default"), body)
    assert status == 201, answer


def _children(cluster: Cluster) -> list[str]:
    paths = ("apps/v1/namespaces/default/deployments", "apps/v1/namespaces/default/replicasets",
             "apps/v1/namespaces/default/controllerrevisions")  # fmt: skip
    lists = [cluster.get(f"/apis/{path}?labelSelector=pagelet.dev/model") for path in paths]
    lists.append(cluster.get("/api/v1/namespaces/default/services?labelSelector=pagelet.dev/model"))
    lists.append(cluster.get("/api/v1/namespaces/default/pods?labelSelector=pagelet.dev/model"))
    return [item["metadata"]["name"] for found in lists for item in found["items"]]
