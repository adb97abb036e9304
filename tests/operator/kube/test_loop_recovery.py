"""The control loop when writes are forbidden, or what it made or remembered is taken away."""

import re
from typing import Any

import pytest

from kube_cluster import Cluster
from kube_fixtures import Operator, operating
from kube_pods import eventually, make_ready, pods
from pagelet_operator.ports import IncompleteError

pytestmark = pytest.mark.cluster

SPEC: dict[str, Any] = {
    "model": {"source": "dummy://tiny"},
    "rollout": {
        "steps": [{"weight": 10, "hold": "30s"}, {"weight": 50, "hold": "30s"}],
        "progressDeadline": "60s",
        "analysis": {"metrics": []},
    },
}
DEPLOYMENTS, SNAPSHOTS = "apps/v1/deployments", "apps/v1/controllerrevisions"
MERGE = "application/merge-patch+json"


async def serve(operator: Operator) -> str:
    """Bring a first revision up; return its name."""
    operator.create(SPEC)
    revision = str((await operator.turn())["rollout"]["canary"])
    make_ready(operator.cluster, operator.ref.namespace, revision)
    assert (await operator.turn())["stable"]["revision"] == revision
    await operator.turn()  # The role's label has followed.
    return revision


async def in_mid_rollout(operator: Operator) -> tuple[str, str]:
    """Bring a second revision to its first step; return both names."""
    old = await serve(operator)
    operator.change({"engine": {"maxModelLen": 512}})
    new = str((await operator.turn())["rollout"]["canary"])
    make_ready(operator.cluster, operator.ref.namespace, new)
    assert (await operator.turn())["canary"]["weight"] == 10
    return old, new


async def turn(operator: Operator) -> dict[str, Any]:
    """Look once, as the loop would; return the status whether or not all could be written."""
    try:
        return await operator.turn()
    except IncompleteError:
        return operator.status()


def set_quota(cluster: Cluster, namespace: str, deployments: int) -> None:
    """Forbid more Deployments than this many, and wait until that is enforced."""
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    body = {
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"},
        "spec": {"hard": {"count/deployments.apps": str(deployments)}},
    }  # fmt: skip
    assert cluster.request("POST", path, body)[0] == 201
    eventually(
        lambda: "used" in cluster.get(f"{path}/few").get("status", {}), "the quota is enforced"
    )


def path(namespace: str, resource: str, name: str) -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/{resource}/{name}"


async def test_a_forbidden_write_stops_neither_addresses_nor_the_deadline(
    cluster: Cluster, namespace: str
) -> None:
    async with operating(cluster, namespace) as operator:
        old = await serve(operator)
        set_quota(cluster, namespace, 1)
        operator.change({"engine": {"maxModelLen": 512}})
        with pytest.raises(IncompleteError, match="exceeded quota: few"):
            await operator.turn()
        status = operator.status()
        new, since = status["rollout"]["canary"], status["rollout"]["unreadySince"]
        assert operator.condition("Applied")["status"] == "False"
        assert "exceeded quota: few" in operator.condition("Applied")["message"]
        said = cluster.kubectl("-n", namespace, "describe", "mdep/chat").partition("Events:")[2]
        assert "WriteFailed" in said

        gone = pods(cluster, namespace, old)[0]["metadata"]["name"]
        pod_path = f"/api/v1/namespaces/{namespace}/pods/{gone}"
        assert cluster.request("DELETE", pod_path, {"gracePeriodSeconds": 0})[0] == 200
        operator.now += 29
        assert (await turn(operator))["readyReplicas"] == 0
        make_ready(cluster, namespace, old)
        operator.now += 1
        status = await turn(operator)
        assert status["readyReplicas"] == 1
        assert status["rollout"]["unreadySince"] == since
        operator.now += 31
        status = await turn(operator)
        assert (status["rollout"]["phase"], status["rollout"]["failed"]) == ("Failed", new)
        assert operator.condition("Stalled")["reason"] == "ProgressDeadlineExceeded"
        assert "exceeded quota: few" in operator.condition("Stalled")["message"]
        await operator.turn()
        assert operator.condition("Applied")["status"] == "True"


async def test_a_first_revision_says_why_and_recovers_once_it_is_allowed(
    cluster: Cluster, namespace: str
) -> None:
    async with operating(cluster, namespace) as operator:
        set_quota(cluster, namespace, 0)
        operator.create(SPEC)
        await turn(operator)
        status = await turn(operator)
        revision = status["rollout"]["canary"]
        assert "exceeded quota: few" in operator.condition("Ready")["message"]
        assert operator.objects(DEPLOYMENTS) == {}
        quota = f"/api/v1/namespaces/{namespace}/resourcequotas/few"
        assert cluster.request("DELETE", quota)[0] == 200

        async def allowed() -> bool:
            await turn(operator)
            return revision in operator.objects(DEPLOYMENTS)

        for _ in range(50):
            if await allowed():
                break
        assert operator.condition("Applied")["status"] == "True"
        await operator.turn()
        assert operator.condition("Ready")["message"] == f"{revision} has 0 of 1 replicas ready"
        make_ready(cluster, namespace, revision)
        assert (await operator.turn())["stable"]["revision"] == revision
        assert "quota" not in str(operator.status())


@pytest.mark.parametrize("lost", ["everything", "the rollout", "nothing but an unknown field"])
async def test_what_serves_keeps_serving_when_the_status_is_lost_in_mid_rollout(
    cluster: Cluster, namespace: str, lost: str
) -> None:
    async with operating(cluster, namespace) as operator:
        old, new = await in_mid_rollout(operator)
        live = cluster.get(operator.path)
        if lost == "everything":
            live["status"] = {}
        elif lost == "the rollout":
            live["status"].pop("rollout")
        else:
            live["status"]["conditions"][0]["later"] = "added by a later version"
        code, body = cluster.request("PUT", f"{operator.path}/status", live)
        assert code == 200, body
        for _ in range(2):
            status = await operator.turn()
            assert status["stable"]["revision"] == old
            assert set(operator.objects(DEPLOYMENTS)) == {old, new}
        assert sum(item["weight"] for item in status["traffic"]["revisions"]) == 100


async def test_a_lost_snapshot_is_made_again_and_takes_no_replica_with_it(
    cluster: Cluster, namespace: str
) -> None:
    async with operating(cluster, namespace) as operator:
        old, new = await in_mid_rollout(operator)
        before = operator.objects(DEPLOYMENTS)[old]["spec"]
        data = operator.objects(SNAPSHOTS)[old]["data"]
        operator.controller._runtime._engine_image = "example.org/engine:2"
        assert cluster.request("DELETE", path(namespace, "controllerrevisions", old))[0] == 200
        status = await operator.turn()
        assert status["stable"]["revision"] == old
        assert operator.objects(DEPLOYMENTS)[old]["spec"] == before
        assert operator.objects(SNAPSHOTS)[old]["data"] == data
        assert new in operator.objects(DEPLOYMENTS)


@pytest.mark.parametrize("resource", ["deployments", "controllerrevisions"])
async def test_a_label_that_was_taken_away_is_put_back(
    cluster: Cluster, namespace: str, resource: str
) -> None:
    async with operating(cluster, namespace) as operator:
        revision = await serve(operator)
        change = {"metadata": {"labels": {"pagelet.dev/model": None}}}
        where = path(namespace, resource, revision)
        assert cluster.request("PATCH", where, change, kind=MERGE)[0] == 200
        uid = cluster.get(where)["metadata"]["uid"]
        status = await operator.turn()
        assert status["stable"]["revision"] == revision
        found = cluster.get(where)["metadata"]
        assert (found["uid"], found["labels"]["pagelet.dev/model"]) == (uid, "chat")


async def test_conditions_of_other_controllers_stay(cluster: Cluster, namespace: str) -> None:
    async with operating(cluster, namespace) as operator:
        await serve(operator)
        live = cluster.get(operator.path)
        theirs = {
            "type": "example.org/Audited", "status": "True", "reason": "Fine", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        live["status"]["conditions"].append(theirs)
        assert cluster.request("PUT", f"{operator.path}/status", live)[0] == 200
        for source in ("dummy://other", "pvc://Weights/x"):
            operator.change({"model": {"source": source}})
            await operator.turn()
            assert theirs in operator.status()["conditions"]


def cells(header: str, line: str) -> dict[str, str]:
    """Read one line of kubectl's table; a cell may be empty or hold a space."""
    names = list(re.finditer(r"\S+( \S+)*", header))
    ends = [name.start() for name in names[1:]] + [len(line)]
    return {
        name.group(): line[name.start() : end].strip()
        for name, end in zip(names, ends, strict=True)
    }


async def test_kubectl_shows_the_rollout_and_its_events(cluster: Cluster, namespace: str) -> None:
    async with operating(cluster, namespace) as operator:
        old, new = await in_mid_rollout(operator)
        table = cluster.kubectl("-n", namespace, "get", "mdep/chat", "-o", "wide").splitlines()
        row = cells(*table)
        assert row.pop("AGE").endswith("s")
        assert row.pop("MESSAGE").startswith("step 1 of ")
        assert row == {
            "NAME": "chat", "READY": "True", "STABLE": old, "CANARY": new, "WEIGHT": "10",
            "P99 TTFT": "", "QUEUE": "", "REPLICAS": "2", "PHASE": "Progressing",
            "SOURCE": "dummy://tiny", "ENDPOINT": "http://pagelet-gateway.pagelet-system.svc/v1",
        }  # fmt: skip
        told = cluster.kubectl("-n", namespace, "describe", "mdep/chat").partition("Events:")[2]
        for reason in ("FirstRevisionReady", "CanaryNotReady", "CanaryReady"):
            assert reason in told


async def test_a_fallback_that_does_not_exist_is_said_and_taken_up_once_it_does(
    cluster: Cluster, namespace: str
) -> None:
    async with operating(cluster, namespace) as operator:
        operator.create({**SPEC, "fallback": [{"modelDeployment": "small"}]})
        status = await operator.turn()
        accepted = operator.condition("Accepted")
        assert (accepted["status"], accepted["reason"]) == ("True", "FallbackMissing")
        assert "fallback" not in status["traffic"]

        async with operating(cluster, namespace, "small") as other:
            other.create({"model": {"name": "org/small", "source": "dummy://tiny"}})
        operator.controller.wake(other.ref)
        assert await operator.controller.queue.take() == other.ref
        assert await operator.controller.queue.take() == operator.ref
        status = await operator.turn()
        assert status["traffic"]["fallback"] == [{"model": "org/small"}]
        assert operator.condition("Accepted")["reason"] == "Valid"
