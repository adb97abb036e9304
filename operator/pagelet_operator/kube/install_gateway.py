"""The gateway's own objects: account, rights, Deployment, Services, disruption budget.

It may follow models and addresses, and look at a Secret by name; it may write nothing. Several
replicas stand beside each other without knowing of each other, except for how many they are.
"""

from typing import Any

from pagelet_operator.kube.pod_parts import confined, probe, unprivileged

NAME = "pagelet-gateway"
NAMESPACE = "pagelet-system"
IMAGE = "ghcr.io/pagelet/pagelet-gateway:0.1.0"
REPLICAS_SERVICE = f"{NAME}-replicas"
PORT = 8080

METRICS_PORT = 9090
"""Apart from what clients reach: the Service does not lead there."""

REPLICAS = 2
"""Two, so that the loss of a node or a rollout of the gateway itself costs no request."""

DRAIN_DELAY_S = 10
"""New connections are taken for this long after SIGTERM: what still holds the pod's address
learns of its end meanwhile."""

DRAIN_S = 300

GRACE_S = DRAIN_DELAY_S + DRAIN_S + 20
"""Longest end of a pod: delay, drain, the last error events, and a margin."""

_SELECTOR = {"app.kubernetes.io/name": "pagelet", "app.kubernetes.io/component": "gateway"}
_LABELS = _SELECTOR | {"app.kubernetes.io/managed-by": "kubectl"}

_RULES: list[dict[str, Any]] = [
    {
        "apiGroups": ["pagelet.dev"],
        "resources": ["modeldeployments"],
        "verbs": ["list", "watch"],
    },
    {
        "apiGroups": ["discovery.k8s.io"],
        "resources": ["endpointslices"],
        "verbs": ["list", "watch"],
    },
    # By name only: whoever takes over a gateway cannot ask which Secrets there are.
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
]


def gateway_rbac() -> list[dict[str, Any]]:
    """Return the account and its cluster-wide rights."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata()},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": NAME, "labels": _LABELS},
            "rules": _RULES,
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": NAME, "labels": _LABELS},
            "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
        },
    ]


def gateway() -> list[dict[str, Any]]:
    """Return what runs the gateway, in the order of creation."""
    return [
        *gateway_rbac(),
        _deployment(),
        _service(NAME, {"port": 80}, {}),
        # Ready or not, a replica that runs has its share of the quotas.
        _service(
            REPLICAS_SERVICE,
            {"port": PORT},
            {"clusterIP": "None", "publishNotReadyAddresses": True},
        ),
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": _metadata(),
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": _SELECTOR}},
        },
    ]


def _deployment() -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(),
        "spec": {
            "replicas": REPLICAS,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "selector": {"matchLabels": _SELECTOR},
            "template": {"metadata": {"labels": _LABELS}, "spec": _pod()},
        },
    }


def _pod() -> dict[str, Any]:
    return {
        "serviceAccountName": NAME,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_S,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": _SELECTOR},
            }
        ],
        "securityContext": unprivileged(),
        "containers": [_container()],
    }


def _container() -> dict[str, Any]:
    return {
        "name": "gateway",
        "image": IMAGE,
        "command": ["pagelet", "gateway"],
        "args": [
            "--kubernetes",
            "--host=0.0.0.0",
            f"--port={PORT}",
            f"--metrics-port={METRICS_PORT}",
            f"--drain-delay={DRAIN_DELAY_S}",
            f"--drain-timeout={DRAIN_S}",
            f"--replicas-service={REPLICAS_SERVICE}.{NAMESPACE}.svc",
        ],
        "ports": [
            {"name": "http", "containerPort": PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
        ],
        "livenessProbe": probe("http", "/livez", 10, 3),
        # Not ready before the first table: a pod without one would refuse everything.
        "readinessProbe": probe("http", "/readyz", 2, 2),
        # Idle it takes about 75 MiB; the rest is requests in flight, each bounded.
        "resources": {
            "requests": {"cpu": "500m", "memory": "256Mi"},
            "limits": {"memory": "1Gi"},
        },
        "securityContext": confined(),
    }


def _service(name: str, port: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    ports = [{"name": "http", **port, "targetPort": "http", "protocol": "TCP"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(name),
        "spec": {**spec, "selector": _SELECTOR, "ports": ports},
    }


def _metadata(name: str = NAME) -> dict[str, Any]:
    return {"name": name, "labels": _LABELS, "namespace": NAMESPACE}
