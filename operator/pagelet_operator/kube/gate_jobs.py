"""Gates in a cluster: a Job per try, whose container leaves its figures as its last words.

The Job's name says which try it is, so an operator that begins anew finds what runs. Its pod
mounts the key that engines know gateways by; the operator itself never sees it. A Job never
tries again by itself: that is decided with everything else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pagelet_operator.core import gate_summary
from pagelet_operator.core.gate_command import arguments
from pagelet_operator.core.gate_report import Report
from pagelet_operator.core.gates import GateKey, GateKind, GateResult, GateRun, GateStatus
from pagelet_operator.core.model import ModelRef
from pagelet_operator.kube.api import (
    MODEL_DEPLOYMENTS,
    PODS,
    Api,
    ConflictError,
    Kind,
    Object,
    RefusedError,
    owned_by,
)
from pagelet_operator.kube.manifests import GATEWAY_KEY, gateway_key_name
from pagelet_operator.ports import GateOrder, UnavailableError

JOBS = Kind("batch/v1", "Job", "jobs")
CONFIG_MAPS = Kind("v1", "ConfigMap", "configmaps")

KEPT_S = 3600
"""A Job that is over is removed after an hour, if nobody has done so before."""

KEY_PATH = "/var/run/pagelet/gateway"
_SUMMARY = "/dev/termination-log"
_MODEL_LABEL, _GATE_LABEL = "pagelet.dev/gate-of", "pagelet.dev/gate"
"""Not the label of a replica: a gate's pod must never count as one."""
_REVISION, _SETTINGS, _ATTEMPT = (
    "pagelet.dev/gate-revision",
    "pagelet.dev/gate-settings",
    "pagelet.dev/gate-attempt",
)


@dataclass(frozen=True, slots=True)
class JobGates:
    """`ports.Gates` by Jobs that belong to their ModelDeployment."""

    api: Api
    image: str
    """Image with `pagelet gate`."""

    async def observe(self, ref: ModelRef) -> Mapping[GateRun, GateResult]:
        """Return every try that has a Job.

        Raises:
            UnavailableError: The API server did not answer.
        """
        selector = f"{_MODEL_LABEL}={ref.name},{_GATE_LABEL}"
        jobs = await self.api.list(JOBS, ref.namespace, selector)
        if not jobs:
            return {}
        pods = await self.api.list(PODS, ref.namespace, selector)
        found = {}
        for job in jobs:
            run = read_run(job)
            if run is not None and "deletionTimestamp" not in job["metadata"]:
                mine = [pod for pod in pods if owned_by(pod, job["metadata"]["uid"])]
                found[run] = result(job, mine[0] if mine else None)
        return found

    async def start(self, order: GateOrder) -> None:
        """Make the try's Job, unless there is one; nothing for a model that is gone.

        Raises:
            UnavailableError: The API server did not answer.
        """
        owner = await self.api.get(MODEL_DEPLOYMENTS, order.ref.namespace, order.ref.name)
        if owner is None:
            return
        try:
            await self.api.create(JOBS, job(order, owner["metadata"]["uid"], self.image))
        except ConflictError:
            return  # It was made before, and the answer was lost.

    async def keep(self, ref: ModelRef, report: Report) -> str:
        """Apply a ConfigMap with the report; return its kind and name.

        Raises:
            UnavailableError: The API server did not answer, or does not store it.
        """
        owner = await self.api.get(MODEL_DEPLOYMENTS, ref.namespace, ref.name)
        if owner is None:
            raise UnavailableError(f"{ref.namespace}/{ref.name} is gone")
        try:
            await self.api.apply(CONFIG_MAPS, config_map(ref, report, owner["metadata"]["uid"]))
        except RefusedError as error:
            raise UnavailableError(str(error)) from None
        return f"configmap/{report.name}"

    async def stop(self, ref: ModelRef, run: GateRun) -> None:
        """Remove the try's Job and its pod.

        Raises:
            UnavailableError: The API server did not answer.
        """
        found = await self.api.get(JOBS, ref.namespace, run.name)
        if found is not None and read_run(found) == run:
            await self.api.delete(JOBS, found)


def config_map(ref: ModelRef, report: Report, owner_uid: str) -> Object:
    """Return the ConfigMap of a report; it goes with its ModelDeployment."""
    return {
        "apiVersion": CONFIG_MAPS.api_version,
        "kind": CONFIG_MAPS.kind,
        "metadata": {
            "name": report.name,
            "namespace": ref.namespace,
            "labels": {
                "app.kubernetes.io/name": "pagelet",
                "app.kubernetes.io/component": "gate",
                _MODEL_LABEL: ref.name,
            },
            "ownerReferences": [_owner(ref.name, owner_uid)],
        },
        "data": {"report.json": report.summary, "report.html": report.page},
    }


def _owner(name: str, uid: str) -> Object:
    return {
        "apiVersion": MODEL_DEPLOYMENTS.api_version,
        "kind": MODEL_DEPLOYMENTS.kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def job(order: GateOrder, owner_uid: str, image: str) -> Object:
    """Return the Job of one try."""
    key, name = order.run.key, order.ref.name
    labels = {
        "app.kubernetes.io/name": "pagelet",
        "app.kubernetes.io/component": "gate",
        _MODEL_LABEL: name,
        _GATE_LABEL: key.kind.value,
    }
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": {
            "name": order.run.name,
            "namespace": order.ref.namespace,
            "labels": labels,
            "annotations": {
                _REVISION: key.revision,
                _SETTINGS: key.settings,
                _ATTEMPT: str(order.run.attempt),
            },
            "ownerReferences": [_owner(name, owner_uid)],
        },
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": KEPT_S,
            "template": {"metadata": {"labels": labels}, "spec": _pod(order, image)},
        },
    }


def _pod(order: GateOrder, image: str) -> Object:
    args = arguments(
        order.gate,
        served_name=order.served_name,
        canary=order.canary,
        stable=order.stable,
        key_file=f"{KEY_PATH}/{GATEWAY_KEY}",
        summary=_SUMMARY,
    )
    secret = {"secretName": gateway_key_name(order.ref.name)}
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": [{"name": "gateway-key", "secret": secret}],
        "containers": [
            {
                "name": "gate",
                "image": image,
                "command": ["pagelet"],
                "args": args,
                "resources": {
                    "requests": {"cpu": "250m", "memory": "128Mi"},
                    "limits": {"memory": "512Mi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [{"name": "gateway-key", "mountPath": KEY_PATH, "readOnly": True}],
            }
        ],
    }


def read_run(found: Mapping[str, Any]) -> GateRun | None:
    """Return which try a Job is; None for one that is not ours to read."""
    metadata = found["metadata"]
    told = metadata.get("annotations", {})
    try:
        kind = GateKind(metadata.get("labels", {}).get(_GATE_LABEL))
        run = GateRun(GateKey(told[_REVISION], kind, told[_SETTINGS]), int(told[_ATTEMPT]))
    except (KeyError, ValueError):
        return None
    return run if run.name == metadata["name"] else None


def result(found: Mapping[str, Any], pod: Mapping[str, Any] | None) -> GateResult:
    """Return what a Job and its pod say of a try."""
    if pod is None:
        failed = _condition(found, "Failed")
        if failed is None:
            return GateResult(status=GateStatus.PENDING)
        return GateResult(status=GateStatus.ERROR, message=str(failed.get("message", "it failed")))
    states = [item.get("state", {}) for item in pod["status"].get("containerStatuses", [])]
    state = states[0] if states else {}
    if "terminated" in state:
        ended = state["terminated"]
        read = gate_summary.read(str(ended.get("message", "")).encode())
        return replace(
            read,
            started_at=_seconds(ended.get("startedAt")) or 0.0,
            finished_at=_seconds(ended.get("finishedAt")),
        )
    if "running" in state:
        begun = _seconds(state["running"].get("startedAt")) or 0.0
        return GateResult(status=GateStatus.RUNNING, started_at=begun)
    return GateResult(status=GateStatus.PENDING, message=_obstacle(pod, state))


def _condition(found: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    conditions: list[Mapping[str, Any]] = found.get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == kind and c["status"] == "True"), None)


def _obstacle(pod: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    waiting = state.get("waiting", {})
    if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
        return f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
    for item in pod["status"].get("conditions", []):
        if item["type"] == "PodScheduled" and item["status"] == "False":
            return str(item.get("message", ""))
    return ""


def _seconds(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()
