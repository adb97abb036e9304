"""What a kubelet would do, said by the test: pods get an address and become ready, or fail."""

import time
from collections.abc import Callable
from typing import Any

from kube_cluster import Cluster

TIMEOUT_S = 60.0

MERGE = "application/merge-patch+json"


def eventually(claim: Callable[[], Any], what: str) -> Any:
    """Wait until `claim` returns something true, and return it."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        found = claim()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"never happened: {what}")


def pods(cluster: Cluster, namespace: str, revision: str) -> list[dict[str, Any]]:
    """Return the pods of a revision that are not on their way out."""
    found = cluster.get(
        f"/api/v1/namespaces/{namespace}/pods?labelSelector=pagelet.dev/revision={revision}"
    )
    return [pod for pod in found["items"] if "deletionTimestamp" not in pod["metadata"]]


def make_ready(cluster: Cluster, namespace: str, revision: str, count: int = 1) -> list[str]:
    """Wait for the revision's pods and make them ready; return their addresses."""
    found = eventually(
        lambda: len(items := pods(cluster, namespace, revision)) == count and items,
        f"{count} pods of {revision}",
    )
    return [set_ready(cluster, pod) for pod in found]


def set_ready(
    cluster: Cluster, pod: dict[str, Any], ready: bool = True, address: str | None = None
) -> str:
    """Set one pod's status as a kubelet would; return its address."""
    if address is None:
        parts = (str(int(pod["metadata"]["uid"][i : i + 2], 16)) for i in (0, 2))
        address = "10.1." + ".".join(parts)
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    _patch_status(cluster, pod, {
        "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        "containerStatuses": [_container(pod, state, ready=ready)],
    })  # fmt: skip
    return address


def set_terminated(cluster: Cluster, pod: dict[str, Any], code: int, message: str) -> None:
    """Let the pod's container have ended with this exit code and last words."""
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    ended = {"terminated": {"exitCode": code, "message": message, "reason": "Error"}}
    status = _container(pod, waiting, ready=False) | {"lastState": ended, "restartCount": 1}
    _patch_status(cluster, pod, {"phase": "Running", "containerStatuses": [status]})


def _container(pod: dict[str, Any], state: dict[str, Any], *, ready: bool) -> dict[str, Any]:
    image = pod["spec"]["containers"][0]["image"]
    return {
        "name": "engine", "ready": ready, "started": ready, "state": state, "restartCount": 0,
        "image": image, "imageID": image,
    }  # fmt: skip


def _patch_status(cluster: Cluster, pod: dict[str, Any], status: dict[str, Any]) -> None:
    meta = pod["metadata"]
    path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/status"
    code, body = cluster.request("PATCH", path, {"status": status}, kind=MERGE)
    assert code == 200, body
