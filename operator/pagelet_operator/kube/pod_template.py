"""The pods of a revision: pure, from its template to a pod template.

It is built once per revision and kept in the revision's snapshot.
"""

import re

from pagelet_operator.api.engine import CLAIM_PATTERN
from pagelet_operator.api.engine_args import engine_args
from pagelet_operator.api.resource import template_spec
from pagelet_operator.api.spec import ModelDeploymentSpec
from pagelet_operator.core.model import Template
from pagelet_operator.kube.api import Object
from pagelet_operator.kube.manifests import (
    CONTAINER,
    ENGINE_PORT,
    GATEWAY_KEY,
    gateway_key_name,
    labels,
)
from pagelet_operator.kube.pod_parts import USER_ID, confined, probe, unprivileged

DRAIN_DELAY_S = 5
"""Between the start of a pod's end and SIGTERM, seconds: who still holds its address learns of
it meanwhile, so no request meets a closed port."""

GRACE_S = 330
"""Longest end of a pod, seconds: the delay, the engine's own drain of 300 s, and a margin."""

STARTUP_PERIOD_S = 2
STARTUP_LIMIT_S = 3600
"""Longest start before the kubelet starts over, seconds. Far above the rollout's own deadline,
which decides; restarting a slow download would only make it slower."""

_KEY_FOLDER = "/etc/pagelet/gateway-key"


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
        "metadata": {"labels": labels(name, revision)},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": GRACE_S,
            "securityContext": {
                **unprivileged(),
                "fsGroup": USER_ID,
                "fsGroupChangePolicy": "OnRootMismatch",
            },
            "containers": [_container(spec, name, default_image, claim)],
            "volumes": _volumes(name, claim),
            **{key: value for key, value in settings.items() if value},
        },
    }


def _container(spec: ModelDeploymentSpec, name: str, image: str, claim: str | None) -> Object:
    resources = spec.pod.resources.model_dump(exclude_defaults=True)
    return {
        "name": CONTAINER,
        "image": spec.engine.image or image,
        "command": ["pagelet", "serve"],
        # Gateways alone may call, by a key of their own: a limit that they keep has no way round.
        "args": [
            *engine_args(spec, name),
            "--host=0.0.0.0",
            f"--port={ENGINE_PORT}",
            f"--gateway-key-file={_KEY_FOLDER}/{GATEWAY_KEY}",
        ],
        "ports": [{"name": "http", "containerPort": ENGINE_PORT, "protocol": "TCP"}],
        "env": _env(spec),
        "volumeMounts": _mounts(claim),
        # The last line of stderr is the engine's own sentence on why it cannot run.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN_DELAY_S}}},
        "startupProbe": probe(
            "http", "/startupz", STARTUP_PERIOD_S, STARTUP_LIMIT_S // STARTUP_PERIOD_S
        ),
        "readinessProbe": probe("http", "/readyz", 2, 2),
        "livenessProbe": probe("http", "/livez", 10, 6),
        "securityContext": confined(),
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
        {"name": "gateway-key", "mountPath": _KEY_FOLDER, "readOnly": True},
    ]
    if claim is not None:
        mounts.append({"name": "model", "mountPath": f"/models/{claim}", "readOnly": True})
    return mounts


def _volumes(name: str, claim: str | None) -> list[Object]:
    # 0440 with fsGroup: the engine's user reads it by its group.
    key = {"secretName": gateway_key_name(name), "defaultMode": 0o440}
    volumes: list[Object] = [
        {"name": "tmp", "emptyDir": {}},
        {"name": "cache", "emptyDir": {}},
        {"name": "gateway-key", "secret": key},
    ]
    if claim is not None:
        source = {"claimName": claim, "readOnly": True}
        volumes.append({"name": "model", "persistentVolumeClaim": source})
    return volumes


def _claim(spec: ModelDeploymentSpec) -> str | None:
    found = re.fullmatch(CLAIM_PATTERN, spec.model.source)
    return found["claim"] if found else None
