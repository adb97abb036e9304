"""Parts that all of our pods have: who they run as, what they may do, how they are probed.

They meet the "restricted" Pod Security Standard
(https://kubernetes.io/docs/concepts/security/pod-security-standards/).
"""

from pagelet_operator.kube.api import Object

USER_ID = 10001
"""Above the range that node accounts use, so an escape lands on nobody's files."""

PROBE_TIMEOUT_S = 5


def unprivileged() -> Object:
    """Return a pod's securityContext: an account of its own, and no system call of note."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER_ID,
        "runAsGroup": USER_ID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def confined() -> Object:
    """Return a container's securityContext: no way to more rights, nothing to write on."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def probe(port: str, path: str, period_s: int, failures: int) -> Object:
    """Return a probe by HTTP.

    Args:
        port: The container's port, by name.
        path: What is asked.
        period_s: Between two questions, seconds.
        failures: How many in a row count.
    """
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period_s,
        "timeoutSeconds": PROBE_TIMEOUT_S,
        "failureThreshold": failures,
    }
