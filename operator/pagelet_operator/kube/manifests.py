"""What one ModelDeployment becomes in a cluster: pure builders, a revision in, an object out.

    ModelDeployment chat ──owns──┬── ControllerRevision chat-<hash>   what the revision is, for good
                                 ├── Deployment         chat-<hash>   its replicas
                                 ├── Service            chat-<hash>   them by name, headless
                                 ├── Secret             chat-gateway-key
                                 └── Service            chat          the stable revision

A revision's pod template is built once and kept in its ControllerRevision, so that an upgrade
of the operator, or of its default image, restarts no pod that serves. What follows a role is a
label of the Deployment and the selector of one Service, never part of a pod: promotion and
withdrawal restart nothing. What a pod looks like stands in `pod_template`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pagelet_operator.api.resource import KIND
from pagelet_operator.core.model import ModelRef, Plan, RevisionPlan, Role, Template
from pagelet_operator.kube.api import (
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    PODS,
    SECRETS,
    SERVICES,
    Object,
)

MODEL_LABEL = "pagelet.dev/model"
REVISION_LABEL = "pagelet.dev/revision"
ROLE_LABEL = "pagelet.dev/role"

SNAPSHOT_ANNOTATION = "pagelet.dev/snapshot"
COMMAND_ANNOTATION = "pagelet.dev/rollout-command"
"""On a ModelDeployment: what a person last said to its rollout (`core.rollout.commands`)."""
"""On a Deployment: what its ControllerRevision holds, so that either can be lost."""

DELETION_COST_ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
"""On a pod: a ReplicaSet that has to end some ends those with the lowest first."""

ENGINE_PORT = 8000
SERVICE_PORT = 80

CONTAINER = "engine"

GATEWAY_KEY = "key"
"""Key inside the Secret `gateway_key_name`."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The ModelDeployment that owns the objects of a model."""

    ref: ModelRef
    uid: str


def selector(model_name: str) -> str:
    """Return the label selector of all objects of a model."""
    return f"{MODEL_LABEL}={model_name}"


def gateway_key_name(model_name: str) -> str:
    """Return the name of the Secret that a model's engines and the gateways share."""
    return f"{model_name}-gateway-key"


def gateway_key_secret(owner: Owner, content: Mapping[str, str]) -> Object:
    """Return the Secret with this content, as `stringData`."""
    return {
        "apiVersion": SECRETS.api_version,
        "kind": SECRETS.kind,
        "metadata": _metadata(owner, gateway_key_name(owner.ref.name), None),
        "type": "Opaque",
        "stringData": dict(content),
    }


def snapshot(template: Template, pod: Mapping[str, Any]) -> Object:
    """Return what a revision is: its part of the spec and the pod made of it."""
    return {"template": dict(template), "podTemplate": dict(pod)}


def snapshot_of(replicas: Mapping[str, Any]) -> Object | None:
    """Return the snapshot in a Deployment's annotation, or None if there is none to use."""
    text = replicas["metadata"].get("annotations", {}).get(SNAPSHOT_ANNOTATION, "")
    try:
        found = json.loads(text)
    except ValueError:
        return None
    complete = isinstance(found, dict) and all(
        isinstance(found.get(key), dict) for key in ("template", "podTemplate")
    )
    return found if complete else None


def controller_revision(
    owner: Owner, revision: str, data: Mapping[str, Any], number: int
) -> Object:
    """Return the object that keeps a revision's snapshot.

    The API server never lets `data` change.
    """
    return {
        "apiVersion": CONTROLLER_REVISIONS.api_version,
        "kind": CONTROLLER_REVISIONS.kind,
        "metadata": _metadata(owner, revision, revision),
        "revision": number,
        "data": dict(data),
    }


def deployment(owner: Owner, item: RevisionPlan, data: Mapping[str, Any]) -> Object:
    """Return the replicas of a revision, made from its snapshot."""
    metadata = _metadata(owner, item.revision, item.revision, item.role)
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return {
        "apiVersion": DEPLOYMENTS.api_version,
        "kind": DEPLOYMENTS.kind,
        "metadata": metadata | {"annotations": {SNAPSHOT_ANNOTATION: text}},
        "spec": {
            "replicas": item.replicas,
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": _selector(owner.ref.name, item.revision)},
            # The template never changes; a replacement of a node's pods may not cost capacity.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "template": dict(data["podTemplate"]),
        },
    }


def deletion_cost(pod: Mapping[str, Any], cost: int) -> Object:
    """Return what makes a ReplicaSet end this pod before others with a higher cost."""
    meta = pod["metadata"]
    return {
        "apiVersion": PODS.api_version,
        "kind": PODS.kind,
        "metadata": {
            "name": meta["name"],
            "namespace": meta["namespace"],
            "annotations": {DELETION_COST_ANNOTATION: str(cost)},
        },
    }


def deletion_cost_of(pod: Mapping[str, Any]) -> str | None:
    """Return a pod's deletion cost, or None."""
    found = pod["metadata"].get("annotations", {}).get(DELETION_COST_ANNOTATION)
    return None if found is None else str(found)


def revision_service(owner: Owner, item: RevisionPlan) -> Object:
    """Return the name of a revision's replicas; headless, since gateways choose among them."""
    spec = {"clusterIP": "None", "selector": _selector(owner.ref.name, item.revision)}
    return _service(_metadata(owner, item.revision, item.revision, item.role), spec, ENGINE_PORT)


def model_service(owner: Owner, plan: Plan) -> Object | None:
    """Return the model's Service, which follows the stable revision; None for an empty plan.

    Before anything is stable it names the first revision, which has no ready pod yet, so
    becoming stable needs no write here.
    """
    if not plan.revisions:
        return None
    stable = next((r for r in plan.revisions if r.role is Role.STABLE), plan.revisions[0])
    spec = {"type": "ClusterIP", "selector": _selector(owner.ref.name, stable.revision)}
    return _service(_metadata(owner, owner.ref.name, None), spec, SERVICE_PORT)


def _service(metadata: Object, spec: Object, port: int) -> Object:
    ports = [{"name": "http", "port": port, "targetPort": "http", "protocol": "TCP"}]
    return {
        "apiVersion": SERVICES.api_version,
        "kind": SERVICES.kind,
        "metadata": metadata,
        "spec": {**spec, "ports": ports},
    }


def _metadata(owner: Owner, name: str, revision: str | None, role: Role | None = None) -> Object:
    said = labels(owner.ref.name, revision) | ({ROLE_LABEL: role.value} if role else {})
    reference = {
        "apiVersion": "pagelet.dev/v1alpha1",
        "kind": KIND,
        "name": owner.ref.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "name": name,
        "namespace": owner.ref.namespace,
        "labels": said,
        "ownerReferences": [reference],
    }


def labels(model_name: str, revision: str | None) -> dict[str, str]:
    """Return the labels of an object of a model, and of a revision if it is one's."""
    common = {
        "app.kubernetes.io/name": "pagelet",
        "app.kubernetes.io/component": CONTAINER,
        "app.kubernetes.io/instance": model_name,
        "app.kubernetes.io/managed-by": "pagelet-operator",
        MODEL_LABEL: model_name,
    }
    return common | ({REVISION_LABEL: revision} if revision else {})


def _selector(model_name: str, revision: str) -> dict[str, str]:
    return {MODEL_LABEL: model_name, REVISION_LABEL: revision}
