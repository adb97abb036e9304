"""What live objects mean: which pods count, where they are, and which can never work."""

from typing import Any

import pytest

from pagelet_operator.core.model import ModelRef
from pagelet_operator.kube.api import CONTROLLER_REVISIONS, DEPLOYMENTS, SERVICES
from pagelet_operator.kube.manifests import Owner
from pagelet_operator.kube.world import World

OWNER = Owner(ModelRef("models", "chat"), "u")
READY = {"type": "Ready", "status": "True"}


def a_pod(**changes: Any) -> dict[str, Any]:
    meta = {
        "name": "p",
        "labels": {"pagelet.dev/revision": "chat-a"},
        "ownerReferences": [{"kind": "ReplicaSet", "name": "chat-a-5f", "controller": True}],
    } | changes.pop("metadata", {})
    return {"metadata": meta, "status": {"podIP": "10.0.0.1", "conditions": [READY]} | changes}


def ended(code: int, message: str, *, last: bool = True, **more: Any) -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "message": message}}
    where = {"lastState": state, "state": {"waiting": {}}} if last else {"state": state}
    return {"containerStatuses": [{"name": "engine", "ready": False, **where, **more}]}


def world(*pods: dict[str, Any], replicas: int | None = 1) -> World:
    deployment = {"metadata": {"labels": {}}, "spec": {"replicas": replicas}}
    return World(
        OWNER,
        {
            CONTROLLER_REVISIONS: {"chat-a": {"data": {"template": {"model": {}}}}},
            DEPLOYMENTS: {"chat-a": deployment} if replicas is not None else {},
            SERVICES: {},
        },
        pods,
    )


def endpoints(*pods: dict[str, Any]) -> tuple[str, ...]:
    return world(*pods).fleet().revisions["chat-a"].endpoints


def failure(**status: Any) -> str | None:
    return world(a_pod(conditions=[], **status)).fleet().revisions["chat-a"].failure


def test_ready_pods_are_endpoints_sorted_and_ipv6_is_bracketed() -> None:
    found = endpoints(a_pod(podIP="fd00::1"), a_pod(podIP="10.0.0.9"), a_pod())
    assert found == ("http://10.0.0.1:8000", "http://10.0.0.9:8000", "http://[fd00::1]:8000")


@pytest.mark.parametrize(
    "pod",
    [
        a_pod(conditions=[{"type": "Ready", "status": "False"}]),
        a_pod(conditions=[]),
        a_pod(podIP=""),
        a_pod(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
        a_pod(metadata={"labels": {"pagelet.dev/revision": "chat-b"}}),
        a_pod(metadata={"labels": {}}),
        a_pod(metadata={"ownerReferences": []}),
        a_pod(
            metadata={
                "ownerReferences": [{"kind": "ReplicaSet", "name": "x-5f", "controller": True}]
            }
        ),
        {"metadata": a_pod()["metadata"]},
    ],
    ids=[
        "unready", "no condition", "no address", "ends", "other revision", "no label",
        "of nobody", "of another", "no status",
    ],
)  # fmt: skip
def test_no_other_pod_is_an_endpoint(pod: dict[str, Any]) -> None:
    assert endpoints(pod) == ()


def test_a_snapshot_without_its_deployment_has_no_replicas() -> None:
    assert world(replicas=None).fleet().revisions["chat-a"].replicas == 0
    assert world(replicas=3).fleet().revisions["chat-a"].replicas == 3


@pytest.mark.parametrize("last", [True, False])
def test_exit_code_2_is_a_failure_with_the_last_line_as_its_sentence(last: bool) -> None:
    assert failure(**ended(2, "loading\nno such file: x\n", last=last)) == "no such file: x"


def test_a_silent_end_still_has_a_sentence() -> None:
    assert failure(**ended(2, "")) == "the engine refuses its configuration"


@pytest.mark.parametrize("code", [0, 1, 137, 143])
def test_other_ends_are_for_the_kubelet_and_the_deadline(code: int) -> None:
    assert failure(**ended(code, "killed")) is None


def test_what_works_now_or_is_not_the_engine_has_not_failed() -> None:
    assert failure(**ended(2, "x", ready=True)) is None
    assert failure(**ended(2, "x", name="sidecar")) is None


def test_nothing_is_known_of_a_world_without_owner() -> None:
    empty: dict[Any, Any] = {CONTROLLER_REVISIONS: {}, DEPLOYMENTS: {}, SERVICES: {}}
    assert World(None, empty, ()).fleet().revisions == {}


def short(*pods: dict[str, Any], conditions: list[dict[str, Any]] | None = None) -> str | None:
    found = world(*pods)
    found.children[DEPLOYMENTS]["chat-a"]["status"] = {"conditions": conditions or []}
    return found.fleet().revisions["chat-a"].short


def unscheduled(message: str, reason: str = "Unschedulable") -> dict[str, Any]:
    said = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    return a_pod(conditions=[said], podIP=None)


def test_pods_that_no_node_has_room_for_lack_room_in_the_schedulers_words() -> None:
    said = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    assert short(unscheduled(said)) == said
    assert short(a_pod()) is None


def test_pods_that_wait_for_anything_else_do_not() -> None:
    assert short(unscheduled("0/3 nodes are available: 3 node(s) had untolerated taint")) is None
    assert short(unscheduled("Insufficient cpu", reason="SchedulingGated")) is None


def test_a_quota_lacks_room_and_a_policy_does_not() -> None:
    failed = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}
    quota = 'pods "x" is forbidden: exceeded quota: gpus, requested: pods=1, used: pods=2'
    assert short(conditions=[failed | {"message": quota}]) == quota
    assert short(conditions=[failed | {"message": quota, "status": "False"}]) is None
    assert short(conditions=[failed | {"message": "denied by policy"}]) is None


def test_a_pod_is_found_by_its_endpoint_while_it_is_ready() -> None:
    found = world(a_pod(podIP="10.0.0.7"), a_pod(podIP="10.0.0.8", conditions=[]))
    assert found.pod_at("http://10.0.0.7:8000") == a_pod(podIP="10.0.0.7")
    assert found.pod_at("http://10.0.0.8:8000") is None
    assert found.pod_at("http://10.0.0.9:8000") is None
