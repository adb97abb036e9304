"""`pagelet operator` as a process, with the rights of its manifest only, on a real API server."""

import contextlib
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kube_cluster import Cluster, request
from kube_fixtures import MODELS, cluster, namespace
from kube_pods import eventually, make_ready

__all__ = ["cluster", "namespace"]

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
USER = "system:serviceaccount:pagelet-system:pagelet-operator"
SPEC: dict[str, Any] = {
    "model": {"source": "dummy://tiny"},
    "rollout": {
        "steps": [{"weight": 20, "hold": "1s"}, {"weight": 60, "hold": "1s"}],
        "retainStable": "2s",
        "analysis": {"metrics": []},
    },
}


class Process:
    """An operator process and its health port."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process, self.log = process, log

    @property
    def port(self) -> int:
        return int(eventually(self._port, "the health port is logged"))

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}{path}", timeout=10
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(timeout=30)

    def _port(self) -> str | None:
        assert self.process.poll() is None, self.log.read_text()
        found = [line for line in self.log.read_text().splitlines() if "health port" in line]
        return found[0].rpartition(" ")[2] if found else None


@pytest.fixture(scope="session")
def account(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kubeconfig of the operator's ServiceAccount, with the rights of install.yaml."""
    documents = yaml.safe_load_all((ROOT / "manifests" / "install.yaml").read_text("utf-8"))
    wanted = ("Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding")
    parts = [item for item in documents if item["kind"] in wanted]
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(parts))
    path = "/api/v1/namespaces/pagelet-system/serviceaccounts/pagelet-operator/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    status, answer = cluster.request("POST", path, body)
    assert status == 201, answer
    token = answer["status"]["token"]
    # The cluster tests rely on this user: what it may not do, this flow does not need.
    secrets = "/api/v1/namespaces/default/secrets"
    assert request(cluster.server, token, "GET", secrets)[0] == 403
    return cluster.write_kubeconfig(tmp_path_factory.mktemp("account") / "kubeconfig", token)


@contextlib.contextmanager
def running(kubeconfig: Path, log: Path, *options: str) -> Iterator[Process]:
    command = [
        sys.executable, "-m", "pagelet", "operator", f"--kubeconfig={kubeconfig}",
        "--health-host=127.0.0.1", "--health-port=0", *options,
    ]  # fmt: skip
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, text=True)
        try:
            yield Process(process, log)
        finally:
            process.kill()
            process.wait()


def create(cluster: Cluster, namespace: str, name: str, spec: dict[str, Any]) -> None:
    status, answer = cluster.request("POST", MODELS.format(namespace), {
        "apiVersion": "pagelet.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": {"name": name}, "spec": spec,
    })  # fmt: skip
    assert status == 201, answer


def change(cluster: Cluster, path: str, spec: dict[str, Any]) -> None:
    status, answer = cluster.request(
        "PATCH", path, {"spec": spec}, kind="application/merge-patch+json"
    )
    assert status == 200, answer


def status_of(cluster: Cluster, path: str) -> dict[str, Any]:
    return cluster.get(path).get("status") or {}


def canary(cluster: Cluster, path: str) -> str:
    return str(
        eventually(
            lambda: status_of(cluster, path).get("rollout", {}).get("canary"), "there is a canary"
        )
    )


def wait_stable(cluster: Cluster, path: str, revision: str) -> None:
    eventually(
        lambda: (status_of(cluster, path).get("stable") or {}).get("revision") == revision,
        f"{revision} is stable",
    )


def test_a_model_is_served_changed_and_deleted_with_the_rights_of_the_manifest_only(
    cluster: Cluster, namespace: str, account: Path, tmp_path: Path
) -> None:
    path = f"{MODELS.format(namespace)}/chat"
    deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    with running(account, tmp_path / "log") as operator:
        create(cluster, namespace, "chat", SPEC)
        first = canary(cluster, path)
        make_ready(cluster, namespace, first)
        wait_stable(cluster, path, first)

        change(cluster, path, {"engine": {"maxModelLen": 128}})
        second = canary(cluster, path)
        make_ready(cluster, namespace, second)
        wait_stable(cluster, path, second)
        eventually(
            lambda: [d["metadata"]["name"] for d in cluster.get(deployments)["items"]] == [second],
            "the replaced revision is removed after retainStable",
        )
        assert operator.get("/healthz") == (200, "ok\n")
        assert operator.get("/readyz")[0] == 200
        exposition = operator.get("/metrics")[1]
        assert 'phase="Stable"} 1.0' in exposition
        assert 'pagelet_operator_reconcile_errors_total{kind="Bug"} 0.0' in exposition

        assert cluster.request("DELETE", path)[0] == 200
        eventually(lambda: not cluster.get(deployments)["items"], "its children are collected")
        assert operator.stop() == 0
    log = (tmp_path / "log").read_text()
    assert "forbidden" not in log.lower()
    assert "Traceback" not in log


def test_a_killed_operator_goes_on_where_it_was_and_a_restart_writes_nothing(
    cluster: Cluster, namespace: str, account: Path, tmp_path: Path
) -> None:
    path = f"{MODELS.format(namespace)}/chat"
    steps = [{"weight": 20, "hold": "3s"}]
    by_time = {"steps": steps, "retainStable": "1h", "analysis": {"metrics": []}}
    slow = SPEC | {"rollout": by_time}
    with running(account, tmp_path / "first") as operator:
        create(cluster, namespace, "chat", slow)
        first = canary(cluster, path)
        make_ready(cluster, namespace, first)
        wait_stable(cluster, path, first)
        change(cluster, path, {"engine": {"maxModelLen": 128}})
        second = canary(cluster, path)
        make_ready(cluster, namespace, second)
        eventually(
            lambda: (status_of(cluster, path).get("canary") or {}).get("weight") == 20,
            "the canary has traffic",
        )
        operator.stop(signal.SIGKILL)
    with running(account, tmp_path / "second") as operator:
        wait_stable(cluster, path, second)
        eventually(lambda: "Promoted" in operator.log.read_text(), "the promotion is told")
        operator.stop()
    written = len(cluster.writes(USER))
    before = cluster.get(path)["metadata"]["resourceVersion"]
    with running(account, tmp_path / "third") as operator:
        eventually(lambda: operator.get("/readyz")[0] == 200, "it is ready")
        eventually(
            lambda: f'name="chat",namespace="{namespace}"' in operator.get("/metrics")[1],
            "it looked at the model",
        )
        time.sleep(1.0)  # What should not happen has no event to wait for.
        assert cluster.writes(USER)[written:] == []
    assert cluster.get(path)["metadata"]["resourceVersion"] == before


def test_with_a_namespace_it_sees_that_namespace_only(
    cluster: Cluster, namespace: str, account: Path, tmp_path: Path
) -> None:
    with running(account, tmp_path / "log", f"--namespace={namespace}"):
        create(cluster, "default", "elsewhere", SPEC)
        create(cluster, namespace, "chat", SPEC)
        canary(cluster, f"{MODELS.format(namespace)}/chat")
        time.sleep(0.5)  # The other one was created first; nothing tells that it is ignored.
        elsewhere = f"{MODELS.format('default')}/elsewhere"
        assert status_of(cluster, elsewhere) == {}
    cluster.request("DELETE", elsewhere)
