"""The key of gateways and engines: made once, random, owned, and never touched again."""

import base64
import json
import logging

import pytest

from kube_cluster import Cluster
from kube_fixtures import operating
from pagelet_operator.ports import IncompleteError

pytestmark = pytest.mark.cluster

SPEC = {"model": {"source": "dummy://tiny"}}


def secret(cluster: Cluster, namespace: str, name: str = "chat-gateway-key") -> dict:
    return cluster.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")


async def test_each_model_gets_a_key_of_its_own_made_once(
    cluster: Cluster, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with operating(cluster, namespace) as operator:
        operator.create(SPEC)
        status = await operator.turn()
        made = secret(cluster, namespace)
        assert status["traffic"]["gatewayKeySecretRef"] == {
            "name": "chat-gateway-key", "key": "key",
        }  # fmt: skip
        await operator.turn()
    async with operating(cluster, namespace, "other") as other:
        other.create(SPEC)
        await other.turn()
    again, another = secret(cluster, namespace), secret(cluster, namespace, "other-gateway-key")
    assert again == made
    assert made["metadata"]["ownerReferences"][0]["name"] == "chat"
    key = base64.b64decode(made["data"]["key"])
    assert len(base64.urlsafe_b64decode(key)) == 32
    assert another["data"]["key"] != made["data"]["key"]
    said = caplog.text + json.dumps(status) + json.dumps(operator.objects("apps/v1/deployments"))
    assert key.decode() not in said


async def test_a_key_that_somebody_made_before_is_kept(cluster: Cluster, namespace: str) -> None:
    mine = {"metadata": {"name": "chat-gateway-key"}, "stringData": {"key": "k" * 40}}
    path = f"/api/v1/namespaces/{namespace}/secrets"
    assert cluster.request("POST", path, mine)[0] == 201
    before = secret(cluster, namespace)
    async with operating(cluster, namespace) as operator:
        operator.create(SPEC)
        await operator.turn()
    assert secret(cluster, namespace) == before


async def test_a_key_that_is_deleted_is_made_again(cluster: Cluster, namespace: str) -> None:
    async with operating(cluster, namespace) as operator:
        operator.create(SPEC)
        await operator.turn()
        before = secret(cluster, namespace)
        path = f"/api/v1/namespaces/{namespace}/secrets/chat-gateway-key"
        assert cluster.request("DELETE", path)[0] == 200
        await operator.turn()
    assert secret(cluster, namespace)["data"] != before["data"]


async def test_the_key_of_a_deleted_namesake_is_waited_for(
    cluster: Cluster, namespace: str
) -> None:
    async with operating(cluster, namespace) as operator:
        operator.create(SPEC)
        stale = {
            "metadata": {
                "name": "chat-gateway-key",
                # Kept by a finalizer, as a Secret is that the collector has not reached yet.
                "finalizers": ["example.org/slow"],
                "ownerReferences": [{
                    "apiVersion": "pagelet.dev/v1alpha1", "kind": "ModelDeployment",
                    "name": "chat", "uid": "00000000-0000-0000-0000-000000000000",
                }],
            },
        }  # fmt: skip
        path = f"/api/v1/namespaces/{namespace}/secrets"
        assert cluster.request("POST", path, stale)[0] == 201
        with pytest.raises(IncompleteError, match="still being removed"):
            await operator.turn()
        unfinished = {"metadata": {"finalizers": []}}
        cluster.request(
            "PATCH", f"{path}/chat-gateway-key", unfinished, kind="application/merge-patch+json"
        )
        cluster.request("DELETE", f"{path}/chat-gateway-key")
        await operator.turn()
        assert operator.condition("Applied")["status"] == "True"
    assert "key" in secret(cluster, namespace)["data"]
