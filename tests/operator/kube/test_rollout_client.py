"""`pagelet rollout` against a real API server, with the operator's loop turned by the test."""

import asyncio
import json
import sys
from typing import Any

import pytest

from kube_cluster import Cluster
from kube_fixtures import Operator, operating
from kube_pods import eventually, make_ready, pods
from pagelet_operator.kube.manifests import COMMAND_ANNOTATION

pytestmark = pytest.mark.cluster

SPEC: dict[str, Any] = {
    "model": {"source": "dummy://tiny"},
    "rollout": {"steps": [{"weight": 10, "hold": "1h"}, {"weight": 50, "hold": "1h"}]},
}


async def rollout(operator: Operator, *words: str) -> tuple[int, str, str]:
    """Run the command, with the operator looking at the resource meanwhile."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pagelet", "rollout", *words,
        f"--namespace={operator.ref.namespace}",
        f"--kubeconfig={operator.cluster.kubeconfig}",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    done = asyncio.create_task(process.communicate())
    while not done.done():
        await operator.turn()
        await asyncio.wait({done}, timeout=0.2)
    out, err = await done
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def canary(operator: Operator) -> str:
    """Bring a model up and a second revision to its first step; return the second's name."""
    namespace = operator.ref.namespace
    operator.create(SPEC)
    make_ready(operator.cluster, namespace, (await operator.turn())["rollout"]["canary"])
    await operator.turn()
    operator.change({"engine": {"maxModelLen": 512}})
    revision = str((await operator.turn())["rollout"]["canary"])
    make_ready(operator.cluster, namespace, revision)
    assert (await operator.turn())["canary"]["weight"] == 10
    return revision


async def test_a_person_pauses_promotes_and_is_told_what_cannot_be_done(
    cluster: Cluster, namespace: str
) -> None:
    async with operating(cluster, namespace) as operator:
        revision = await canary(operator)
        code, out, err = await rollout(operator, "pause", "chat")
        assert (code, "keeps 10 %" in out, err) == (0, True, "")
        assert operator.condition("Progressing")["reason"] == "Paused"
        code, out, _ = await rollout(operator, "status", "chat", "--json")
        assert (code, json.loads(out)["phase"]) == (0, "Paused")
        assert (await rollout(operator, "promote", "chat"))[0] == 0
        assert operator.status()["canary"]["weight"] == 50
        code, out, err = await rollout(operator, "resume", "chat")
        assert (code, out, err) == (1, "", "chat: it is not paused\n")
        assert (await rollout(operator, "promote-full", "chat"))[0] == 0
        assert operator.status()["stable"]["revision"] == revision
        code, out, _ = await rollout(operator, "status", "chat", "--watch")
        assert (code, out.splitlines()[0]) == (0, "chat: Stable")
        said = {e["reason"] for e in operator.objects("events.k8s.io/v1/events").values()}
        assert {"Paused", "PromotionCommanded", "CommandRefused", "Promoted"} <= said


async def test_a_command_is_one_annotation_and_outlives_a_restart(
    cluster: Cluster, namespace: str
) -> None:
    async with operating(cluster, namespace) as operator:
        revision = await canary(operator)
        assert (await rollout(operator, "abort", "chat"))[0] == 0
        now = operator.now
    async with operating(cluster, namespace, now=now) as operator:
        status = await operator.turn()
        assert (status["rollout"]["failed"], status["rollout"]["phase"]) == (revision, "Failed")
        live = cluster.get(operator.path)
        assert live["metadata"]["annotations"][COMMAND_ANNOTATION].startswith("abort/")
        assert live["metadata"]["generation"] == 2, "a command is no change of the spec"
        before = operator.versions()
        await operator.turn()
        assert operator.versions() == before


async def test_a_wrong_name_is_told_the_names_there_are(cluster: Cluster, namespace: str) -> None:
    async with operating(cluster, namespace) as operator:
        operator.create(SPEC)
        code, _, err = await rollout(operator, "status", "chatt")
        assert code == 2
        assert "there are: chat" in err


async def test_a_quota_is_named_as_what_the_canary_waits_for(
    cluster: Cluster, namespace: str
) -> None:
    async with operating(cluster, namespace) as operator:
        operator.create(SPEC)
        first = (await operator.turn())["rollout"]["canary"]
        make_ready(cluster, namespace, first)
        await operator.turn()
        quota = {
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "one-pod"},
            "spec": {"hard": {"pods": "1"}},
        }  # fmt: skip
        path = f"/api/v1/namespaces/{namespace}/resourcequotas"
        assert cluster.request("POST", path, quota)[0] == 201
        eventually(
            lambda: cluster.get(f"{path}/one-pod").get("status", {}).get("used"), "quota counted"
        )
        operator.change({"engine": {"maxModelLen": 512}})
        canary = (await operator.turn())["rollout"]["canary"]
        assert not pods(cluster, namespace, canary)

        def refused() -> bool:
            found = operator.objects("apps/v1/deployments")[canary].get("status", {})
            return any("exceeded quota" in c["message"] for c in found.get("conditions", ()))

        eventually(refused, "the quota refused the pod")
        status = await operator.turn()
        assert operator.condition("Progressing")["reason"] == "WaitingForCapacity"
        assert "exceeded quota" in status["rollout"]["message"]
        assert status["stable"]["readyReplicas"] == 1, "what serves keeps serving"
