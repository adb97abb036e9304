"""The chart on a real API server, by Helm as a library: installed, upgraded, used and removed."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import helm_python
import pytest

import kube_cluster
from chart_render import CHART, NAMESPACE, render
from kube_cluster import Cluster
from local_processes import until_sync

pytestmark = pytest.mark.cluster

MINE = "app.kubernetes.io/managed-by=Helm"
KINDS = (
    "deployments,services,serviceaccounts,configmaps,networkpolicies,poddisruptionbudgets,"
    "horizontalpodautoscalers,roles,rolebindings,clusterroles,clusterrolebindings,"
    "customresourcedefinitions"
)
MODEL = {
    "apiVersion": "pagelet.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "chat"},
    "spec": {"model": {"source": "dummy://tiny"}},
}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane that has never heard of Pagelet; a node would be needed to run pods."""
    binaries = kube_cluster.assets()
    if binaries is None:
        pytest.skip("KUBEBUILDER_ASSETS is not set to a folder with etcd and kube-apiserver")
    folder = tmp_path_factory.mktemp("bare")
    with kube_cluster.running(folder, Path(binaries), lambda _: None) as found:
        yield found


@contextmanager
def helm(cluster: Cluster, namespace: str) -> Iterator[Any]:
    with helm_python.Config(kubeconfig_path=cluster.kubeconfig, namespace=namespace) as config:
        yield config


def restricted(cluster: Cluster, name: str) -> None:
    """Make a namespace that admits no pod below the strictest standard."""
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": label}}
    assert cluster.request("POST", "/api/v1/namespaces", body)[0] == 201


def left(cluster: Cluster) -> set[tuple[str, str]]:
    """Kind and name of everything that a release made and that is still there."""
    found = cluster.kubectl("get", KINDS, "-A", "-l", MINE, "-o", "json")
    return {(item["kind"], item["metadata"]["name"]) for item in json.loads(found)["items"]}


def made(values: dict[str, Any], namespace: str) -> set[tuple[str, str]]:
    return {
        (item["kind"], item["metadata"]["name"])
        for item in render(values, namespace=namespace)
        if item["kind"] != "Pod"
    }


def may(cluster: Cluster, verb: str, resource: str, account: str, *scope: str) -> bool:
    answer = cluster.kubectl(
        "auth", "can-i", verb, resource, f"--as=system:serviceaccount:{account}", *scope,
        check=False,
    )  # fmt: skip
    return answer.splitlines()[-1] == "yes"


def test_it_installs_upgrades_and_leaves_nothing_but_the_crd(bare: Cluster) -> None:
    restricted(bare, NAMESPACE)
    values: dict[str, Any] = {"monitoring": {"monitors": "Never", "rules": "Never"}}
    scaled = values | {"gateway": {"autoscaling": {"enabled": True}}}
    with helm(bare, NAMESPACE) as config:
        release = config.install(str(CHART), "pagelet", values)
        assert release["status"] == "deployed"
        assert left(bare) == made(values, NAMESPACE)

        # The controllers make the pods, so the namespace's standard has admitted each of them.
        def pods() -> int:
            found = bare.get(f"/api/v1/namespaces/{NAMESPACE}/pods")
            return len(found["items"])

        wanted = sum(
            item["spec"]["replicas"] for item in render(values) if item["kind"] == "Deployment"
        )
        until_sync(lambda: pods() == wanted, within_s=60, what=lambda: f"{pods()} pods")

        for account in ("pagelet-operator", "pagelet-gateway"):
            name = f"{NAMESPACE}:{account}"
            assert may(bare, "list", "modeldeployments.pagelet.dev", name, "-A")
            assert may(bare, "get", "secrets", name, "-A")
            assert not may(bare, "list", "secrets", name, "-A")
            assert not may(bare, "delete", "nodes", name)

        assert config.upgrade(str(CHART), "pagelet", scaled)["revision"] == 2
        assert left(bare) == made(scaled, NAMESPACE)
        assert ("HorizontalPodAutoscaler", "pagelet-gateway") in left(bare)
        config.uninstall("pagelet")
    crd = ("CustomResourceDefinition", "modeldeployments.pagelet.dev")
    until_sync(lambda: left(bare) == {crd}, within_s=60, what=lambda: str(left(bare)))


def test_a_release_in_one_namespace_works_by_its_role_alone(bare: Cluster, tmp_path: Path) -> None:
    values: dict[str, Any] = {"scope": "Namespace", "crd": {"keep": False}}
    restricted(bare, "team")
    bare.kubectl("delete", "crd", "--all")
    account = "/api/v1/namespaces/team/serviceaccounts/pagelet-operator"
    with helm(bare, "team") as config:
        config.install(str(CHART), "pagelet", values)
        assert not may(bare, "list", "modeldeployments.pagelet.dev", "team:pagelet-operator", "-A")
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        status, answer = bare.request("POST", f"{account}/token", body)
        assert status == 201, answer
        kubeconfig = bare.write_kubeconfig(tmp_path / "kubeconfig", answer["status"]["token"])
        models = "/apis/pagelet.dev/v1alpha1/namespaces/team/modeldeployments"
        until_sync(lambda: bare.request("GET", models)[0] == 200, within_s=60)
        with operator(values, kubeconfig):
            assert bare.request("POST", models, MODEL)[0] == 201

            def engines() -> list[str]:
                found = bare.get("/apis/apps/v1/namespaces/team/deployments")["items"]
                names = [item["metadata"]["name"] for item in found]
                return [name for name in names if name.startswith("chat-")]

            log = (tmp_path / "operator.log").read_text
            until_sync(engines, within_s=90, what=log)
            until_sync(lambda: bare.get(f"{models}/chat").get("status"), within_s=60)
        bare.kubectl("-n", "team", "delete", "mdep", "chat")
        config.uninstall("pagelet")
    until_sync(lambda: not left(bare), within_s=60, what=lambda: str(left(bare)))


@contextmanager
def operator(values: dict[str, Any], kubeconfig: Path) -> Iterator[None]:
    """Run the operator with the flags the chart gives it, as the account it gives it."""
    [deployment] = [
        item
        for item in render(values, namespace="team")
        if item["kind"] == "Deployment" and item["metadata"]["name"] == "pagelet-operator"
    ]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    flags = [flag for flag in container["args"] if not flag.startswith("--health-port")]
    command = [sys.executable, "-m", *container["command"], *flags]
    with (kubeconfig.parent / "operator.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--kubeconfig={kubeconfig}", "--health-port=0"], stdout=log, stderr=log
        )
        try:
            yield
            assert process.poll() is None, (kubeconfig.parent / "operator.log").read_text()
        finally:
            process.terminate()
            process.wait(60)


def test_an_unknown_value_installs_nothing(bare: Cluster) -> None:
    before = left(bare)
    with helm(bare, "default") as config, pytest.raises(helm_python.HelmError, match="gatway"):
        config.install(str(CHART), "pagelet", {"gatway": {"replicas": 3}})
    assert left(bare) == before


def test_monitors_come_where_the_cluster_knows_them(bare: Cluster) -> None:
    """Auto looks at the cluster: without the Prometheus operator nothing of it is asked for."""
    with helm(bare, "default") as config:
        plain = config.install(str(CHART), "pagelet", dry_run="server")
        assert "monitoring.coreos.com" not in plain["manifest"]
        for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule"):
            status, answer = bare.request(
                "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", stand_in(kind)
            )
            assert status == 201, answer
        path = "/apis/monitoring.coreos.com/v1/podmonitors"
        until_sync(lambda: bare.request("GET", path)[0] == 200, within_s=60)
    with helm(bare, "default") as config:  # what the server knows is read once
        watched = config.install(str(CHART), "pagelet", dry_run="server")
        for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule"):
            assert f"kind: {kind}" in watched["manifest"]


def stand_in(kind: str) -> dict[str, Any]:
    """A definition that admits anything, under the Prometheus operator's name."""
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [version],
        },
    }
