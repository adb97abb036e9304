"""What one ModelDeployment becomes in a cluster: pure builders, a revision in, an object out.

    ModelDeployment chat ──owns──┬── ControllerRevision chat-<hash>   what the revision is, for good
                                 ├── Deployment         chat-<hash>   its replicas
                                 ├── Service            chat-<hash>   them by name, headless
                                 └── Service            chat          the stable revision

A revision's pod template is built once and kept in its ControllerRevision, so that an upgrade
of the operator, or of its default image, restarts no pod that serves. What follows a role is a
label of the Deployment and the selector of one Service, never part of a pod: promotion and
withdrawal restart nothing. Pods meet the "restricted" Pod Security Standard
(https://kubernetes.io/docs/concepts/security/pod-security-standards/).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pagelet_operator.api.engine import CLAIM_PATTERN
from pagelet_operator.api.engine_args import engine_args
from pagelet_operator.api.resource import KIND, template_spec
from pagelet_operator.api.spec import ModelDeploymentSpec
from pagelet_operator.core.model import ModelRef, Plan, RevisionPlan, Role, Template
from pagelet_operator.kube.api import CONTROLLER_REVISIONS, DEPLOYMENTS, SERVICES, Object

MODEL_LABEL = "pagelet.dev/model"
REVISION_LABEL = "pagelet.dev/revision"
ROLE_LABEL = "pagelet.dev/role"

SNAPSHOT_ANNOTATION = "pagelet.dev/snapshot"
"""On a Deployment: what its ControllerRevision holds, so that either can be lost."""

ENGINE_PORT = 8000
SERVICE_PORT = 80

CONTAINER = "engine"

USER_ID = 10001
"""Above the range that node accounts use, so an escape lands on nobody's files."""

DRAIN_DELAY_S = 5
"""Between the start of a pod's end and SIGTERM, seconds: who still holds its address learns of
it meanwhile, so no request meets a closed port."""

GRACE_S = 330
"""Longest end of a pod, seconds: the delay, the engine's own drain of 300 s, and a margin."""

STARTUP_PERIOD_S = 2
STARTUP_LIMIT_S = 3600
"""Longest start before the kubelet starts over, seconds. Far above the rollout's own deadline,
which decides; restarting a slow download would only make it slower."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The ModelDeployment that owns the objects of a model."""

    ref: ModelRef
    uid: str


def selector(model_name: str) -> str:
    """Return the label selector of all objects of a model."""
    return f"{MODEL_LABEL}={model_name}"


def endpoint(ref: ModelRef) -> str:
    """Return the base URL of the model's stable revision inside the cluster."""
    return f"http://{ref.name}.{ref.namespace}.svc/v1"


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


def pod_template(name: str, revision: str, template: Template, default_image: str) -> Object:
    """Return the pods of a revision of the model `name`."""
    spec = template_spec(template)
    claim = _claim(spec)
    pod = spec.pod
    settings = {
        "nodeSelector": dict(pod.node_selector),
        "tolerations": [
            item.model_dump(by_alias=True, exclude_none=True) for item in pod.tolerations
        ],
        "affinity": pod.affinity and pod.affinity.model_dump(by_alias=True, exclude_none=True),
        "imagePullSecrets": [{"name": item.name} for item in pod.image_pull_secrets],
        "runtimeClassName": pod.runtime_class_name,
        "priorityClassName": pod.priority_class_name,
        "serviceAccountName": pod.service_account_name,
    }  # fmt: skip
    return {
        "metadata": {"labels": _labels(name, revision)},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": GRACE_S,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER_ID,
                "runAsGroup": USER_ID,
                "fsGroup": USER_ID,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_container(spec, name, default_image, claim)],
            "volumes": _volumes(claim),
            **{key: value for key, value in settings.items() if value},
        },
    }


def _container(spec: ModelDeploymentSpec, name: str, image: str, claim: str | None) -> Object:
    resources = spec.pod.resources.model_dump(exclude_defaults=True)
    return {
        "name": CONTAINER,
        "image": spec.engine.image or image,
        "command": ["pagelet", "serve"],
        # No key: the gateway in front asks for it, and pods are reached through it.
        "args": [*engine_args(spec, name), "--host=0.0.0.0", f"--port={ENGINE_PORT}", "--no-auth"],
        "ports": [{"name": "http", "containerPort": ENGINE_PORT, "protocol": "TCP"}],
        "env": _env(spec),
        "volumeMounts": _mounts(claim),
        # The last line of stderr is the engine's own sentence on why it cannot run.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN_DELAY_S}}},
        "startupProbe": _probe("/startupz", STARTUP_PERIOD_S, STARTUP_LIMIT_S // STARTUP_PERIOD_S),
        "readinessProbe": _probe("/readyz", 2, 2),
        "livenessProbe": _probe("/livez", 10, 6),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        **({"resources": resources} if resources else {}),
    }


def _env(spec: ModelDeploymentSpec) -> list[Object]:
    """Return our variables, the user's over them, and the hub's token over all."""
    env: dict[str, Object] = {"HOME": {"name": "HOME", "value": "/cache"}}
    for item in spec.pod.env:
        env[item.name] = {"name": item.name} | ({"value": item.value} if item.value else {})
    token = spec.model.token_secret_ref
    if token is not None:
        source = {"secretKeyRef": {"name": token.name, "key": token.key}}
        env["HF_TOKEN"] = {"name": "HF_TOKEN", "valueFrom": source}
    return list(env.values())


def _mounts(claim: str | None) -> list[Object]:
    mounts: list[Object] = [
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a path in the pod, an emptyDir
        {"name": "cache", "mountPath": "/cache"},
    ]
    if claim is not None:
        mounts.append({"name": "model", "mountPath": f"/models/{claim}", "readOnly": True})
    return mounts


def _volumes(claim: str | None) -> list[Object]:
    volumes: list[Object] = [{"name": "tmp", "emptyDir": {}}, {"name": "cache", "emptyDir": {}}]
    if claim is not None:
        source = {"claimName": claim, "readOnly": True}
        volumes.append({"name": "model", "persistentVolumeClaim": source})
    return volumes


def _claim(spec: ModelDeploymentSpec) -> str | None:
    found = re.fullmatch(CLAIM_PATTERN, spec.model.source)
    return found["claim"] if found else None


def _probe(path: str, period_s: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period_s,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _service(metadata: Object, spec: Object, port: int) -> Object:
    ports = [{"name": "http", "port": port, "targetPort": "http", "protocol": "TCP"}]
    return {
        "apiVersion": SERVICES.api_version,
        "kind": SERVICES.kind,
        "metadata": metadata,
        "spec": {**spec, "ports": ports},
    }


def _metadata(owner: Owner, name: str, revision: str | None, role: Role | None = None) -> Object:
    labels = _labels(owner.ref.name, revision)
    if role is not None:
        labels[ROLE_LABEL] = role.value
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
        "labels": labels,
        "ownerReferences": [reference],
    }


def _labels(model_name: str, revision: str | None) -> dict[str, str]:
    labels = {
        "app.kubernetes.io/name": "pagelet",
        "app.kubernetes.io/component": CONTAINER,
        "app.kubernetes.io/instance": model_name,
        "app.kubernetes.io/managed-by": "pagelet-operator",
        MODEL_LABEL: model_name,
    }
    return labels | ({REVISION_LABEL: revision} if revision else {})


def _selector(model_name: str, revision: str) -> dict[str, str]:
    return {MODEL_LABEL: model_name, REVISION_LABEL: revision}
