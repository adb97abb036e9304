"""Built manifests: reviewed YAML, and the promises that no review should have to find."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kube_cluster import Cluster
from kube_golden import CASES, FOLDER, OWNER, objects
from operator_resources import resource
from pagelet_operator.api.resource import parse, to_model
from pagelet_operator.core.model import Plan, RevisionPlan, Role
from pagelet_operator.kube import manifests
from pagelet_operator.kube.pod_template import pod_template


def plan_of(*roles: tuple[str, Role]) -> Plan:
    revisions = tuple(
        RevisionPlan(revision=name, template={}, role=role, replicas=1, weight=0)
        for name, role in roles
    )
    return Plan(revisions=revisions, traffic={})


@pytest.mark.parametrize("name", CASES)
def test_the_manifests_are_the_reviewed_ones(name: str) -> None:
    reviewed = list(yaml.safe_load_all((FOLDER / f"{name}.yaml").read_text("utf-8")))
    assert objects(CASES[name]) == reviewed


def test_a_role_is_in_no_pod_so_that_a_change_of_role_restarts_nothing() -> None:
    pods, labels = [], []
    for role in Role:
        item = plan_of(("chat-a", role)).revisions[0]
        built = manifests.deployment(OWNER, item, manifests.snapshot({}, {"spec": {}}))
        pods.append(built["spec"]["template"])
        labels.append(built["metadata"]["labels"]["pagelet.dev/role"])
    assert pods == [{"spec": {}}] * 3
    assert labels == ["stable", "canary", "retired"]


def test_the_models_service_follows_the_stable_revision_wherever_it_stands() -> None:
    plan = plan_of(("chat-b", Role.CANARY), ("chat-a", Role.STABLE))
    service = manifests.model_service(OWNER, plan)
    assert service is not None
    assert service["spec"]["selector"]["pagelet.dev/revision"] == "chat-a"


def test_before_anything_is_stable_the_service_names_the_first_revision() -> None:
    service = manifests.model_service(OWNER, plan_of(("chat-a", Role.CANARY)))
    assert service is not None
    assert service["spec"]["selector"]["pagelet.dev/revision"] == "chat-a"
    assert manifests.model_service(OWNER, plan_of()) is None


@given(st.integers(1, 50), st.integers(1, 1000))
def test_no_pod_depends_on_limits_scaling_or_rollout(seconds: int, replicas: int) -> None:
    changed = resource(limits={"requestTimeout": f"{seconds}s"}, scaling={"minReplicas": replicas})
    built = [pod(document) for document in (resource(), changed)]
    assert built[0] == built[1]


def test_a_long_name_makes_names_a_service_may_have() -> None:
    longest = "a" * 50
    model = to_model(parse({**resource(), "metadata": {"name": longest}}))
    assert len(model.revision) <= 63


def pod(document: dict[str, Any]) -> dict[str, Any]:
    model = to_model(parse(document))
    return pod_template("chat", model.revision, model.template, "image:1")


@pytest.mark.cluster
@pytest.mark.parametrize("name", CASES)
def test_pods_are_admitted_where_pod_security_is_restricted(
    cluster: Cluster, namespace: str, name: str
) -> None:
    for kind, item in (
        ("priorityclasses", {"kind": "PriorityClass", "value": 1, "metadata": {"name": "serving"}}),
    ):
        body = {"apiVersion": "scheduling.k8s.io/v1", **item}
        assert cluster.request("POST", f"/apis/scheduling.k8s.io/v1/{kind}", body)[0] in (201, 409)
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    path = f"/api/v1/namespaces/{namespace}"
    cluster.request("PATCH", path, label, kind="application/merge-patch+json")
    for account in ("default", "models"):
        body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}
        assert cluster.request("POST", f"{path}/serviceaccounts", body)[0] in (201, 409)
    built = pod(CASES[name])
    built["spec"].pop("runtimeClassName", None)  # A cluster's own object; nothing to admit it by.
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": built["spec"]}
    status, answer = cluster.request("POST", f"{path}/pods?fieldValidation=Strict", body)
    assert status == 201, answer


@pytest.mark.cluster
@pytest.mark.parametrize("name", CASES)
def test_every_object_is_admitted_strictly(cluster: Cluster, namespace: str, name: str) -> None:
    for item in objects(CASES[name]):
        meta = {**item["metadata"], "namespace": namespace}
        root = "/apis" if "/" in item["apiVersion"] else "/api"
        plural = f"{item['kind'].lower()}s"
        status, answer = cluster.request(
            "POST",
            f"{root}/{item['apiVersion']}/namespaces/{namespace}/{plural}"
            "?fieldValidation=Strict&dryRun=All",
            {**item, "metadata": meta},
        )
        assert status == 201, answer
