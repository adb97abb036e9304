"""Two ModelDeployments of one model name, on a real API server: the older one has it."""

from typing import Any

import pytest

from kube_cluster import Cluster
from kube_fixtures import MODELS, operating
from pagelet_operator.core.model import ModelRef

pytestmark = pytest.mark.cluster


def accepted(cluster: Cluster, namespace: str, name: str) -> dict[str, Any]:
    status = cluster.get(f"{MODELS.format(namespace)}/{name}")["status"]
    return next(item for item in status["conditions"] if item["type"] == "Accepted")


async def test_the_younger_is_refused_until_the_name_is_free_and_the_older_never(
    cluster: Cluster, namespace: str
) -> None:
    async with operating(cluster, namespace) as operator:
        younger = ModelRef(namespace, "other")
        operator.create({"model": {"source": "dummy://tiny"}})
        body = {
            "apiVersion": "pagelet.dev/v1alpha1", "kind": "ModelDeployment",
            "metadata": {"name": "other"},
            "spec": {"model": {"source": "dummy://tiny", "name": "chat"}},
        }  # fmt: skip
        assert cluster.request("POST", MODELS.format(namespace), body)[0] == 201
        # Whoever is seen first: the younger one steps back as soon as the older one is known.
        await operator.controller.reconcile(younger)
        assert accepted(cluster, namespace, "other")["status"] == "True"
        await operator.turn()
        assert await operator.controller.queue.take() == younger
        operator.controller.queue.done(younger)
        await operator.controller.reconcile(younger)
        said = accepted(cluster, namespace, "other")
        assert (said["status"], said["reason"]) == ("False", "Invalid")
        assert f"'chat' belongs to {namespace}/chat" in said["message"]
        assert "delete one of the two" in said["message"]
        assert accepted(cluster, namespace, "chat")["status"] == "True"
        assert cluster.request("DELETE", operator.path)[0] == 200
        await operator.controller.reconcile(younger)
        assert accepted(cluster, namespace, "other")["status"] == "True"
