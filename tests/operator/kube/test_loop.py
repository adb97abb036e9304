"""The control loop against a real API server, turn by turn, on the test's own clock."""

from typing import Any

import pytest

from kube_cluster import Cluster
from kube_fixtures import IMAGE, Operator, operating
from kube_pods import eventually, make_ready, pods, set_ready, set_terminated
from pagelet_operator.kube.api import MODEL_DEPLOYMENTS, ConflictError, connect, load_configuration
from pagelet_operator.ports import UnavailableError

pytestmark = pytest.mark.cluster

SPEC: dict[str, Any] = {
    "model": {"source": "dummy://tiny"},
    "rollout": {
        "steps": [{"weight": 10, "hold": "30s"}, {"weight": 50, "hold": "30s"}],
        "retainStable": "100s",
        "progressDeadline": "60s",
        "analysis": {"metrics": []},
    },
}
DEPLOYMENTS, SERVICES = "apps/v1/deployments", "v1/services"
SNAPSHOTS, EVENTS = "apps/v1/controllerrevisions", "events.k8s.io/v1/events"


def pod_labels(service: dict[str, Any]) -> str:
    return str(service["spec"]["selector"]["pagelet.dev/revision"])


def reasons(operator: Operator) -> list[str]:
    found = operator.objects(EVENTS).values()
    ours = [item for item in found if item["regarding"]["kind"] == "ModelDeployment"]
    return [item["reason"] for item in sorted(ours, key=lambda item: item["eventTime"])]


async def serve(operator: Operator, spec: dict[str, Any] = SPEC) -> str:
    """Create the resource and bring its first revision up; return the revision."""
    operator.create(spec)
    status = await operator.turn()
    revision = str(status["rollout"]["canary"])
    make_ready(operator.cluster, operator.ref.namespace, revision)
    status = await operator.turn()
    assert status["stable"]["revision"] == revision
    return revision


async def change(operator: Operator) -> str:
    """Ask for a second revision; return its name."""
    operator.change({"engine": {"maxModelLen": 512}})
    status = await operator.turn()
    return str(status["rollout"]["canary"])


async def test_a_resource_becomes_a_deployment_services_a_snapshot_and_status(
    cluster: Cluster, namespace: str
) -> None:
    async with operating(cluster, namespace) as operator:
        operator.create(SPEC)
        status = await operator.turn()
        revision = status["rollout"]["canary"]
        assert set(operator.objects(DEPLOYMENTS)) == {revision}
        assert set(operator.objects(SERVICES)) == {revision, "chat"}
        assert set(operator.objects(SNAPSHOTS)) >= {revision}
        assert status["observedGeneration"] == 1
        assert {c["type"]: c["status"] for c in status["conditions"]} == {
            "Accepted": "True", "Applied": "True", "Ready": "False", "Progressing": "True",
            "Stalled": "False", "TrafficShaped": "False",
        }  # fmt: skip
        assert "endpoint" not in status

        make_ready(cluster, namespace, revision)
        status = await operator.turn()
        assert status["endpoint"] == "http://pagelet-gateway.pagelet-system.svc/v1"
        assert status["traffic"]["revisions"] == [
            {"name": revision, "role": "stable", "weight": 100}
        ]
        assert operator.condition("Ready")["status"] == "True"
        assert reasons(operator) == ["FirstRevisionNotReady", "FirstRevisionReady"]


async def test_a_second_look_writes_nothing(cluster: Cluster, namespace: str) -> None:
    spec = SPEC | {
        "pod": {
            "resources": {"requests": {"cpu": "1000m", "memory": "2048Mi"}, "limits": {"cpu": 2}},
            "env": [{"name": "EMPTY", "value": ""}, {"name": "A", "value": "1"}],
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "nodeSelector": {"disk": "fast"},
        },
        "model": {"source": "pvc://weights/llama", "tokenSecretRef": {"name": "hub", "key": "t"}},
    }
    async with operating(cluster, namespace) as operator:
        await serve(operator, spec)
        await operator.turn()  # The role's label followed; from here on all is as planned.
        before, written = operator.versions(), len(cluster.writes("operator"))
        for _ in range(3):
            operator.now += 10_000
            await operator.turn()
        assert operator.versions() == before
        assert cluster.writes("operator")[written:] == []


async def test_a_change_moves_traffic_by_steps_and_promotion_restarts_nothing(
    cluster: Cluster, namespace: str
) -> None:
    async with operating(cluster, namespace) as operator:
        old = await serve(operator)
        new = await change(operator)
        assert set(operator.objects(DEPLOYMENTS)) == {old, new}
        assert operator.status()["canary"]["weight"] == 0
        make_ready(cluster, namespace, new)

        weights = []
        for _ in range(3):
            status = await operator.turn()
            weights.append([item["weight"] for item in status["traffic"]["revisions"]])
            before = operator.objects(DEPLOYMENTS)
            operator.now += 31
        assert weights == [[90, 10], [50, 50], [100, 0]]
        assert pod_labels(operator.objects(SERVICES)["chat"]) == new
        assert status["stable"]["revision"] == new
        after = (await operator.turn(), operator.objects(DEPLOYMENTS))[1]
        for name in (old, new):
            pod = before[name]["spec"]["template"]
            assert after[name]["spec"]["template"] == pod
            assert after[name]["status"]["observedGeneration"] >= 1
            assert after[name]["metadata"]["generation"] == 1
        assert after[old]["metadata"]["labels"]["pagelet.dev/role"] == "retired"
        assert after[new]["metadata"]["labels"]["pagelet.dev/role"] == "stable"

        operator.now += 101
        await operator.turn()
        assert set(operator.objects(DEPLOYMENTS)) == {new}
        assert set(operator.objects(SERVICES)) == {new, "chat"}
        snapshots = operator.objects(SNAPSHOTS)
        assert [n for n in snapshots if n.startswith("chat-")] == [new]
        assert reasons(operator)[-3:] == ["CanaryReady", "StepCompleted", "Promoted"]


async def test_a_restart_in_the_middle_changes_nothing_and_the_rollout_goes_on(
    cluster: Cluster, namespace: str
) -> None:
    async with operating(cluster, namespace) as first:
        old = await serve(first)
        new = await change(first)
        make_ready(cluster, namespace, new)
        await first.turn()
        first.now += 10
        await first.turn()
        before = first.versions()
    async with operating(cluster, namespace, now=first.now) as second:
        await second.turn()
        assert second.versions() == before
        second.now += 21
        status = await second.turn()
        assert [item["weight"] for item in status["traffic"]["revisions"]] == [50, 50]
        second.now += 31
        assert (await second.turn())["stable"]["revision"] == new
        assert set(second.objects(DEPLOYMENTS)) == {old, new}


async def test_another_engine_image_in_the_operator_restarts_nothing(
    cluster: Cluster, namespace: str
) -> None:
    async with operating(cluster, namespace) as operator:
        revision = await serve(operator)
        await operator.turn()
        operator.controller._runtime._engine_image = "example.org/engine:2"
        before = operator.versions()
        await operator.turn()
        assert operator.versions() == before
        pod = operator.objects(DEPLOYMENTS)[revision]["spec"]["template"]["spec"]
        assert pod["containers"][0]["image"] == IMAGE
        new = await change(operator)
        pod = operator.objects(DEPLOYMENTS)[new]["spec"]["template"]["spec"]
        assert pod["containers"][0]["image"] == "example.org/engine:2"


async def test_an_engine_that_refuses_its_configuration_is_withdrawn_with_its_sentence(
    cluster: Cluster, namespace: str
) -> None:
    async with operating(cluster, namespace) as operator:
        old = await serve(operator)
        new = await change(operator)
        pod = eventually(lambda: pods(cluster, namespace, new), "a pod of the canary")[0]
        set_terminated(cluster, pod, 2, "loading\nmaxModelLen 512 is over what fits: 100.\n")
        status = await operator.turn()
        assert status["rollout"]["failed"] == new
        assert operator.condition("Stalled")["reason"] == "ReplicaFailed"
        assert operator.condition("Stalled")["message"] == "maxModelLen 512 is over what fits: 100."
        assert [i["weight"] for i in status["traffic"]["revisions"] if i["name"] == old] == [100]
        operator.now += 6
        await operator.turn()
        assert set(operator.objects(DEPLOYMENTS)) == {old}


async def test_an_engine_that_crashes_is_left_to_the_deadline(
    cluster: Cluster, namespace: str
) -> None:
    async with operating(cluster, namespace) as operator:
        await serve(operator)
        new = await change(operator)
        pod = eventually(lambda: pods(cluster, namespace, new), "a pod of the canary")[0]
        set_terminated(cluster, pod, 1, "out of memory")
        assert (await operator.turn())["rollout"]["canary"] == new
        operator.now += 61
        assert (await operator.turn())["rollout"]["failed"] == new
        assert operator.condition("Stalled")["reason"] == "ProgressDeadlineExceeded"


async def test_what_passes_the_schema_but_cannot_work_is_refused_and_nothing_is_touched(
    cluster: Cluster, namespace: str
) -> None:
    async with operating(cluster, namespace) as operator:
        revision = await serve(operator)
        await operator.turn()
        before = operator.versions()
        operator.change({"model": {"source": "pvc://Weights/llama"}})
        status = await operator.turn()
        accepted = operator.condition("Accepted")
        assert (accepted["status"], accepted["observedGeneration"]) == ("False", 2)
        assert "spec.model.source" in accepted["message"]
        assert status["stable"]["revision"] == revision
        after = operator.versions()
        changed = {key for key in after if after[key] != before.get(key)}
        assert {key.split("/")[-2] for key in changed} == {"modeldeployments", "events"}
        assert reasons(operator)[-1] == "Invalid"

        # What serves keeps serving.
        assert status["traffic"]["revisions"][0]["weight"] == 100

        operator.change({"model": {"source": "dummy://tiny"}})
        await operator.turn()
        assert operator.condition("Accepted")["status"] == "True"


async def test_a_deployment_the_api_server_refuses_fails_its_revision_only(
    cluster: Cluster, namespace: str
) -> None:
    async with operating(cluster, namespace) as operator:
        old = await serve(operator)
        operator.change({"pod": {"nodeSelector": {"not a label": "x"}}})
        with pytest.raises(UnavailableError, match="not a label"):
            await operator.turn()
        status = await operator.turn()
        assert "not a label" in operator.condition("Stalled")["message"]
        assert status["stable"]["revision"] == old
        operator.now += 6
        await operator.turn()
        assert [n for n in operator.objects(SNAPSHOTS) if n.startswith("chat-")] == [old]
        operator.change({"pod": None, "engine": {"maxModelLen": 512}})
        status = await operator.turn()
        assert status["rollout"]["canary"] in operator.objects(DEPLOYMENTS)


async def test_deletion_removes_every_child(cluster: Cluster, namespace: str) -> None:
    async with operating(cluster, namespace) as operator:
        await serve(operator)
        assert cluster.request("DELETE", operator.path)[0] == 200
        assert await operator.controller.reconcile(operator.ref) is None
        for kind in (DEPLOYMENTS, SERVICES):
            eventually(lambda kind=kind: not operator.objects(kind), f"no {kind} left")
        eventually(
            lambda: not [n for n in operator.objects(SNAPSHOTS) if n.startswith("chat-")],
            "no snapshot left",
        )


async def test_scale_goes_through_the_scale_subresource(cluster: Cluster, namespace: str) -> None:
    async with operating(cluster, namespace) as operator:
        revision = await serve(operator)
        cluster.kubectl("-n", namespace, "scale", "mdep/chat", "--replicas=3")
        await operator.turn()
        deployment = operator.objects(DEPLOYMENTS)[revision]
        assert deployment["spec"]["replicas"] == 3
        scale = cluster.get(f"{operator.path}/scale")
        assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (3, 3)
        assert scale["status"]["selector"] == "pagelet.dev/model=chat"


async def test_foreign_objects_with_our_labels_are_left_alone(
    cluster: Cluster, namespace: str
) -> None:
    labels = {"pagelet.dev/model": "chat", "pagelet.dev/revision": "chat-0000000000"}
    foreign = {
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "chat-0000000000", "labels": labels},
        "spec": {"ports": [{"port": 1}]},
    }  # fmt: skip
    path = f"/api/v1/namespaces/{namespace}/services"
    assert cluster.request("POST", path, foreign)[0] == 201
    async with operating(cluster, namespace) as operator:
        await serve(operator)
        before = operator.objects(SERVICES)["chat-0000000000"]
        await operator.turn()
        assert operator.objects(SERVICES)["chat-0000000000"] == before


async def test_a_foreign_pod_with_our_labels_gets_no_traffic(
    cluster: Cluster, namespace: str
) -> None:
    async with operating(cluster, namespace) as operator:
        revision = await serve(operator)
        pod = pods(cluster, namespace, revision)[0]
        stranger = {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "stranger", "labels": {
                "pagelet.dev/model": "chat", "pagelet.dev/revision": revision,
            }},
            "spec": pod["spec"],
        }  # fmt: skip
        code, body = cluster.request("POST", f"/api/v1/namespaces/{namespace}/pods", stranger)
        assert code == 201, body
        set_ready(cluster, body)
        status = await operator.turn()
        assert status["readyReplicas"] == 1


async def test_a_name_that_is_taken_is_said_and_not_taken_over(
    cluster: Cluster, namespace: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/services"
    mine = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "chat"},
        "spec": {"ports": [{"port": 1}], "selector": {"app": "mine"}},
    }  # fmt: skip
    assert cluster.request("POST", path, mine)[0] == 201
    before = cluster.get(f"{path}/chat")
    async with operating(cluster, namespace) as operator:
        operator.create(SPEC)
        await operator.turn()
        assert "Service chat exists" in operator.condition("Accepted")["message"]
        assert operator.objects(DEPLOYMENTS) == {}
        assert cluster.get(f"{path}/chat") == before
        assert cluster.request("DELETE", f"{path}/chat")[0] == 200
        await operator.turn()
        assert operator.condition("Accepted")["status"] == "True"
        assert operator.objects(DEPLOYMENTS) != {}


async def test_a_field_that_somebody_changed_is_set_back(cluster: Cluster, namespace: str) -> None:
    async with operating(cluster, namespace) as operator:
        revision = await serve(operator)
        await operator.turn()
        service = f"/api/v1/namespaces/{namespace}/services/chat"
        stolen = {"spec": {"selector": {"pagelet.dev/revision": "elsewhere"}}}
        cluster.request("PATCH", service, stolen, kind="application/merge-patch+json")
        await operator.turn()
        assert pod_labels(cluster.get(service)) == revision
        assert cluster.request("DELETE", service)[0] == 200
        await operator.turn()
        assert pod_labels(cluster.get(service)) == revision


async def test_a_status_that_changed_meanwhile_is_not_overwritten(
    cluster: Cluster, namespace: str
) -> None:
    async with operating(cluster, namespace) as operator:
        operator.create(SPEC)
        configuration = await load_configuration(str(cluster.kubeconfig))
        async with connect(configuration) as api:
            live = cluster.get(operator.path)
            operator.change({"scaling": {"minReplicas": 2}})
            with pytest.raises(ConflictError):
                await api.replace_status(MODEL_DEPLOYMENTS, {**live, "status": {"replicas": 9}})
        assert operator.status() == {}
