"""Two operators, two processes: one works, the other takes over, and a signal ends either."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kube_cluster import Cluster
from kube_fixtures import MODELS
from local_processes import until_sync

pytestmark = pytest.mark.cluster


class Operator:
    """A running `pagelet operator` that shares a Lease."""

    def __init__(self, cluster: Cluster, namespace: str, log: Path) -> None:
        self._log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "pagelet", "operator", f"--namespace={namespace}",
                    f"--kubeconfig={cluster.operator_kubeconfig}", "--health-port=0",
                    "--health-host=127.0.0.1", f"--lease={namespace}/operator",
                ],
                stdout=out, stderr=out,
            )  # fmt: skip

    def says(self, words: str) -> bool:
        return words in self._log.read_text()

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def operators(cluster: Cluster, namespace: str, folder: Path) -> Iterator[list[Operator]]:
    found = [Operator(cluster, namespace, folder / f"{number}.log") for number in range(2)]
    try:
        yield found
    finally:
        for operator in found:
            operator.process.kill()
            operator.process.wait()


def serve(cluster: Cluster, namespace: str, name: str) -> None:
    """Create a model and wait until an operator has said something about it."""
    path = MODELS.format(namespace)
    body = {
        "apiVersion": "pagelet.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name},
        "spec": {"model": {"source": "dummy://tiny"}},
    }
    assert cluster.request("POST", path, body)[0] == 201
    until_sync(lambda: cluster.get(f"{path}/{name}").get("status"), within_s=90)


@pytest.mark.timeout(280)
def test_the_next_takes_over_from_one_that_ends_and_both_end_by_a_signal(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    with operators(cluster, namespace, tmp_path) as (one, other):
        until_sync(lambda: one.says("holds Lease") or other.says("holds Lease"), within_s=90)
        worker, standby = (one, other) if one.says("holds Lease") else (other, one)
        until_sync(lambda: standby.says("stands by"), within_s=90)
        serve(cluster, namespace, "first")
        assert not standby.says("holds Lease")

        assert worker.end() == 0
        until_sync(lambda: standby.says("holds Lease"), within_s=90)
        serve(cluster, namespace, "second")
        third = Operator(cluster, namespace, tmp_path / "third.log")
        until_sync(lambda: third.says("stands by"), within_s=90)
        assert third.end() == 0, "while it stands by, too"
        assert standby.end() == 0
