"""A gateway process on a live cluster: as its own account may, over real sockets."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from gateway_cluster import World, own_address
from gateway_process import WAIT_S, GatewayProcess, post
from gateway_upstream import Upstream
from kube_cluster import Cluster
from pagelet_operator.kube.install_gateway import NAME, NAMESPACE, gateway_rbac

pytestmark = pytest.mark.cluster

USER = f"system:serviceaccount:{NAMESPACE}:{NAME}"
CHAT = "/v1/chat/completions"

PLURALS = {
    "ServiceAccount": "serviceaccounts",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
}


def account(cluster: Cluster, folder: Path) -> Path:
    """Make the gateway's account with its rights; return a kubeconfig of it."""
    cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    for item in gateway_rbac():
        version, meta = item["apiVersion"], item["metadata"]
        root = "/apis" if "/" in version else "/api"
        scope = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
        path = f"{root}/{version}{scope}/{PLURALS[item['kind']]}"
        assert cluster.request("POST", path, item)[0] in (201, 409)
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{NAME}/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    status, answer = cluster.request("POST", path, body)
    assert status == 201, answer
    return cluster.write_kubeconfig(folder / "kubeconfig", answer["status"]["token"])


@pytest.fixture
def gateway(cluster: Cluster, tmp_path: Path) -> Iterator[GatewayProcess]:
    kubeconfig = account(cluster, tmp_path)
    with GatewayProcess(tmp_path, "--kubernetes", "--kubeconfig", str(kubeconfig)) as process:
        yield process
        assert process.stop() == 0
        assert process.log("bug") == []
        assert process.log("source failed") == []


def resident_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(re.findall(r"VmRSS:\s+(\d+) kB", text)[0]) / 1024


async def status_until(
    session: aiohttp.ClientSession, url: str, body: object, key: str, wanted: int
) -> float:
    """Ask until the answer has this status; return after how many seconds."""
    begun = time.monotonic()
    while time.monotonic() - begun < WAIT_S:
        if (await post(session, url, body, authorization=f"Bearer {key}"))[0] == wanted:
            return time.monotonic() - begun
    raise AssertionError(f"never answered {wanted}")


async def test_a_gateway_serves_a_cluster_with_the_rights_of_the_manifest_and_asks_for_no_more(
    cluster: Cluster, namespace: str, gateway: GatewayProcess
) -> None:
    world = World(cluster, namespace)
    world.secret("keys", team="first-key-of-team")
    world.secret("gate", key="g" * 40)
    async with Upstream(host=own_address()) as engine, aiohttp.ClientSession() as session:
        model = world.model(
            "chat",
            {"chat-a": 100},
            tenants=[{"name": "team", "apiKeySecretRef": {"name": "keys", "key": "team"}}],
            gatewayKeySecretRef={"name": "gate", "key": "key"},
        )
        world.pods("a-1", "chat-a", [engine.host], port=engine.port)
        url = gateway.url + CHAT
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
        await status_until(session, url, body, "first-key-of-team", 200)
        assert (await post(session, url, body, authorization="Bearer wrong"))[0] == 401
        (received,) = [item for item in engine.received if item.path == CHAT][:1]
        assert received.headers["x-pagelet-gateway-key"] == "g" * 40
        assert received.headers["x-pagelet-tenant"]

        world.secret("keys", team="second-key-of-team")
        rotated = await status_until(session, url, body, "second-key-of-team", 200)
        assert (await post(session, url, body, authorization="Bearer first-key-of-team"))[0] == 401
        print(f"a rotated key counts after {rotated:.2f} s")
        assert rotated < 10, "about a second on a quiet machine"

        mib = resident_mib(gateway.process.pid)
        print(f"resident: {mib:.0f} MiB")
        assert mib < 150
    asked = cluster.answers(USER)
    assert {code for _, _, code in asked} <= {200}, asked
    assert {verb for verb, _, _ in asked} == {"list", "watch", "get"}
    assert cluster.writes(USER) == []
    said = str(gateway._log)
    assert not any(key in said for key in ("first-key", "second-key", "g" * 40))


def test_without_a_cluster_it_ends_with_a_sentence(tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    with pytest.raises(AssertionError, match="none is no file") as ended:
        GatewayProcess(tmp_path, "--kubernetes", "--kubeconfig", missing).__enter__()
    assert "give one that exists" in str(ended.value)
