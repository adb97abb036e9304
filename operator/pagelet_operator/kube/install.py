"""What installs Pagelet; of it the operator's own: account, rights, Deployment, metrics Service.

The rights are the least that suffice: no wildcard, and of Secrets only what one key per model
takes. RBAC cannot say "create with this name", nor name an object that is yet to be; the
operator asks for names that end in `-gateway-key` alone, and reads a key only to ask engines for
their metrics.
"""

from typing import Any

from pagelet_operator.kube.command import DEFAULT_ENGINE_IMAGE, DEFAULT_GATE_IMAGE
from pagelet_operator.kube.crd import crd
from pagelet_operator.kube.install_gateway import gateway
from pagelet_operator.kube.pod_parts import confined, probe, unprivileged

NAME = "pagelet-operator"
NAMESPACE = "pagelet-system"
IMAGE = DEFAULT_GATE_IMAGE
HEALTH_PORT = 8081

_LABELS = {
    "app.kubernetes.io/name": "pagelet",
    "app.kubernetes.io/component": "operator",
    "app.kubernetes.io/managed-by": "kubectl",
}
_SELECTOR = {"app.kubernetes.io/name": "pagelet", "app.kubernetes.io/component": "operator"}

_CHILD_VERBS = ["get", "list", "watch", "create", "patch", "delete"]

_LEASE_RULES = [
    {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "verbs": ["get", "create", "update"],
    }
]
"""In the operator's own namespace: who of several works."""

_RULES: list[dict[str, Any]] = [
    {
        "apiGroups": ["pagelet.dev"],
        "resources": ["modeldeployments"],
        "verbs": ["get", "list", "watch"],
    },
    {"apiGroups": ["pagelet.dev"], "resources": ["modeldeployments/status"], "verbs": ["update"]},
    # Clusters that check owner references ask for this before a child may block a deletion.
    {
        "apiGroups": ["pagelet.dev"],
        "resources": ["modeldeployments/finalizers"],
        "verbs": ["update"],
    },
    {
        "apiGroups": ["apps"],
        "resources": ["deployments"],
        "verbs": _CHILD_VERBS,
    },
    {
        "apiGroups": ["apps"],
        "resources": ["controllerrevisions"],
        "verbs": [verb for verb in _CHILD_VERBS if verb != "watch"],
    },
    {"apiGroups": [""], "resources": ["services"], "verbs": _CHILD_VERBS},
    # Patched only to say which of them end first when fewer are needed.
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch", "patch"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create"]},
    # A canary's gates; what is in a Job never changes.
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list", "create", "delete"]},
    # Reports of load tests: written, never read.
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "patch"]},
    {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
]


def rbac() -> list[dict[str, Any]]:
    """Return the account and its rights: cluster-wide ones, and the Lease in its namespace."""
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(NAMESPACE)},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": _metadata(None),
            "rules": _RULES,
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": _metadata(None),
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": NAME,
            },
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
        },
        *_lease_rbac(),
    ]


def _lease_rbac() -> list[dict[str, Any]]:
    metadata = _metadata(NAMESPACE) | {"name": f"{NAME}-lease"}
    group = "rbac.authorization.k8s.io"
    return [
        {
            "apiVersion": f"{group}/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": _LEASE_RULES,
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": f"{NAME}-lease"},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
        },
    ]


def install() -> list[dict[str, Any]]:
    """Return everything that `kubectl apply --server-side -f` needs: operator and gateway."""
    return [_namespace(), crd(), *rbac(), _deployment(), _service(), *gateway()]


def _namespace() -> dict[str, Any]:
    level = "pod-security.kubernetes.io"
    labels = _LABELS | {f"{level}/enforce": "restricted", f"{level}/enforce-version": "latest"}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": labels},
    }


def _deployment() -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(NAMESPACE),
        "spec": {
            # One works, by a Lease; the other takes over.
            "replicas": 2,
            "selector": {"matchLabels": _SELECTOR},
            "template": {"metadata": {"labels": _LABELS}, "spec": _pod()},
        },
    }


def _pod() -> dict[str, Any]:
    return {
        "serviceAccountName": NAME,
        "terminationGracePeriodSeconds": 30,
        "securityContext": unprivileged(),
        "containers": [
            {
                "name": "operator",
                "image": IMAGE,
                "command": ["pagelet", "operator"],
                "args": [
                    f"--engine-image={DEFAULT_ENGINE_IMAGE}",
                    f"--gate-image={IMAGE}",
                    f"--health-port={HEALTH_PORT}",
                    f"--lease={NAMESPACE}/{NAME}",
                ],
                "ports": [{"name": "health", "containerPort": HEALTH_PORT, "protocol": "TCP"}],
                "livenessProbe": probe("health", "/healthz", 10, 3),
                "readinessProbe": probe("health", "/readyz", 5, 2),
                "resources": {
                    "requests": {"cpu": "100m", "memory": "128Mi"},
                    "limits": {"memory": "512Mi"},
                },
                "securityContext": confined(),
            }
        ],
    }


def _service() -> dict[str, Any]:
    port = {"name": "metrics", "port": HEALTH_PORT, "targetPort": "health", "protocol": "TCP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(NAMESPACE),
        "spec": {"selector": _SELECTOR, "ports": [port]},
    }


def _metadata(namespace: str | None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": NAME, "labels": _LABELS}
    return metadata | ({"namespace": namespace} if namespace else {})
