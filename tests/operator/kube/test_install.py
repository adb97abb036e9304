"""What runs the operator: the least rights that suffice, in a pod that may do nothing else."""

from typing import Any

import pytest

from kube_cluster import Cluster, request
from pagelet_operator.kube.install import NAME, NAMESPACE, install, rbac

RULES = next(item for item in rbac() if item["kind"] == "ClusterRole")["rules"]


def test_no_right_is_a_wildcard_or_lets_it_give_itself_more() -> None:
    for rule in RULES:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert not {"escalate", "bind", "impersonate", "deletecollection"} & set(rule["verbs"])


def test_the_rights_are_exactly_these() -> None:
    writes = {"get", "list", "create", "patch", "delete"}
    found = {
        f"{group}/{resource}": set(rule["verbs"])
        for rule in RULES
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert found == {
        "pagelet.dev/modeldeployments": {"get", "list", "watch"},
        "pagelet.dev/modeldeployments/status": {"update"},
        "pagelet.dev/modeldeployments/finalizers": {"update"},
        "apps/deployments": writes | {"watch"},
        "apps/controllerrevisions": writes,
        "/services": writes | {"watch"},
        "/pods": {"list", "watch", "patch"},
        "/secrets": {"get", "create"},
        "batch/jobs": {"get", "list", "create", "delete"},
        "/configmaps": {"create", "patch"},
        "events.k8s.io/events": {"create"},
    }


def test_two_operators_share_a_lease_in_their_own_namespace() -> None:
    [deployment] = [
        item
        for item in install()
        if item["kind"] == "Deployment" and item["metadata"]["name"] == NAME
    ]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert deployment["spec"]["replicas"] == 2
    assert f"--lease={NAMESPACE}/{NAME}" in container["args"]
    [role] = [item for item in rbac() if item["kind"] == "Role"]
    assert role["metadata"]["namespace"] == NAMESPACE
    assert role["rules"] == [
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "verbs": ["get", "create", "update"],
        }
    ]


@pytest.mark.cluster
class TestOnTheApiServer:
    def test_everything_is_admitted_strictly_and_meets_its_own_pod_security(
        self, cluster: Cluster
    ) -> None:
        for document in install():
            status, answer = apply(cluster, document)
            assert status in (200, 201), answer
        deployments = [item for item in install() if item["kind"] == "Deployment"]
        assert len(deployments) == 2
        for deployment in deployments:
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "as-the-deployment-makes-it", "namespace": NAMESPACE},
                "spec": deployment["spec"]["template"]["spec"],
            }
            status, answer = cluster.request(
                "POST", f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All", pod
            )
            assert status == 201, answer

    def test_the_account_cannot_list_secrets(self, cluster: Cluster) -> None:
        for document in install()[:1] + rbac():
            apply(cluster, document)
        token = service_account_token(cluster)
        path = "/api/v1/namespaces/default/secrets"
        assert request(cluster.server, token, "GET", path)[0] == 403
        allowed = "/apis/pagelet.dev/v1alpha1/modeldeployments"
        assert request(cluster.server, token, "GET", allowed)[0] == 200


def service_account_token(cluster: Cluster) -> str:
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{NAME}/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    status, answer = cluster.request("POST", path, body)
    assert status == 201, answer
    return str(answer["status"]["token"])


PLURALS = {
    "Namespace": "namespaces",
    "CustomResourceDefinition": "customresourcedefinitions",
    "ServiceAccount": "serviceaccounts",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Deployment": "deployments",
    "Service": "services",
    "PodDisruptionBudget": "poddisruptionbudgets",
}


def apply(cluster: Cluster, document: dict[str, Any]) -> tuple[int, Any]:
    meta, version = document["metadata"], document["apiVersion"]
    root = "/apis" if "/" in version else "/api"
    scope = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
    path = f"{root}/{version}{scope}/{PLURALS[document['kind']]}/{meta['name']}"
    query = "?fieldManager=test&force=true&fieldValidation=Strict"
    return cluster.request("PATCH", path + query, document, kind="application/apply-patch+yaml")
