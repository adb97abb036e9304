"""The chart, rendered by Helm as a library, and what a reviewer would ask of the objects."""

import functools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import helm_python
import yaml

Object = dict[str, Any]

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "pagelet"
NAMESPACE = "pagelet-system"

_PEER = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}

COMBINATIONS: dict[str, Object] = {
    "nothing": {},
    "one-namespace": {"scope": "Namespace"},
    "no-crd": {"crd": {"install": False}},
    "crd-goes": {"crd": {"keep": False}},
    "mirror": {"image": {"registry": "registry.local:5000/pagelet/", "tag": "1.2.3"}},
    "pull-secrets": {"image": {"pullSecrets": [{"name": "login"}], "pullPolicy": "Always"}},
    "own-images": {
        "engine": {"image": "a/engine:1"},
        "operator": {"image": "a/operator@sha256:" + "0" * 64},
        "gateway": {"image": "a/gateway:1"},
    },
    "one-operator": {"operator": {"replicas": 1}},
    "no-operator": {"operator": {"replicas": 0}},
    "prometheus": {"operator": {"prometheusUrl": "http://prometheus.monitoring.svc:9090"}},
    "autoscaled": {"gateway": {"autoscaling": {"enabled": True}}},
    "autoscaled-wide": {
        "gateway": {"autoscaling": {"enabled": True, "minReplicas": 3, "maxReplicas": 40}}
    },
    "no-budget": {"gateway": {"disruptionBudget": {"enabled": False}}},
    "budget-in-percent": {"gateway": {"disruptionBudget": {"maxUnavailable": "25%"}}},
    "apart": {"gateway": {"antiAffinity": "Hard"}},
    "anywhere": {"gateway": {"antiAffinity": "None", "spreadOverZones": False}},
    "own-affinity": {
        "gateway": {"affinity": {"nodeAffinity": {}}},
        "operator": {"affinity": {"nodeAffinity": {}}},
    },
    "balanced": {
        "gateway": {
            "service": {
                "type": "LoadBalancer",
                "port": 8000,
                "annotations": {"a/b": "c"},
                "loadBalancerSourceRanges": ["10.0.0.0/8"],
            }
        }
    },
    "node-port": {"gateway": {"service": {"type": "NodePort"}}},
    "closed": {"gateway": {"requireKeys": True, "accessLog": False}},
    "long-drain": {"gateway": {"drain": {"delaySeconds": 0, "timeoutSeconds": 3600}}},
    "store": {"gateway": {"quotaStore": {"urlSecretRef": {"name": "valkey"}, "failure": "open"}}},
    "environment": {
        "gateway": {"env": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://otel:4318"}]},
        "operator": {"env": [{"name": "TZ", "value": "UTC"}]},
    },
    "store-and-environment": {
        "gateway": {
            "quotaStore": {"urlSecretRef": {"name": "valkey", "key": "dsn"}},
            "env": [{"name": "TZ", "value": "UTC"}],
        }
    },
    "placed": {
        name: {
            "nodeSelector": {"pool": "system"},
            "tolerations": [{"key": "system", "operator": "Exists"}],
            "priorityClassName": "high",
            "podLabels": {"team": "ml"},
            "podAnnotations": {"note": "x"},
        }
        for name in ("operator", "gateway")
    },
    "no-policies": {"networkPolicy": {"enabled": False}},
    "tight-policies": {
        "networkPolicy": {
            "clients": [_PEER],
            "monitoring": [_PEER],
            "apiServerPorts": [8443],
            "modelNamespaces": ["chat", "code"],
            "gatewayEgress": [{"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]}],
            "operatorEgress": [{"ports": [{"port": 4318}]}],
        }
    },
    "one-namespace-and-others": {
        "scope": "Namespace",
        "networkPolicy": {"modelNamespaces": [NAMESPACE, "chat"]},
    },
    "monitored": {"monitoring": {"monitors": "Always", "rules": "Always"}},
    "monitored-namespace": {
        "scope": "Namespace",
        "monitoring": {"monitors": "Always", "labels": {"release": "prom"}, "interval": "1m"},
    },
    "monitored-engines": {
        "monitoring": {
            "monitors": "Always",
            "engines": [{"namespace": "chat", "name": "a"}, {"namespace": "code", "name": "b"}],
        }
    },
    "unmonitored": {"monitoring": {"monitors": "Never", "rules": "Never", "dashboards": False}},
    "own-runbook": {"monitoring": {"rules": "Always", "runbookUrl": "https://wiki/pagelet"}},
    "in-a-parent-chart": {"global": {"imageRegistry": "x"}},
}


def render(
    values: Object | None = None, *, name: str = "pagelet", namespace: str = NAMESPACE
) -> list[Object]:
    """Return the objects of the chart under these values; to be read only, as they are kept."""
    return _parsed(json.dumps(values or {}), name, namespace)


def notes(values: Object | None = None, *, name: str = "pagelet") -> str:
    """Return what a person reads after the installation."""
    return _rendered(json.dumps(values or {}), name, NAMESPACE)["pagelet/templates/NOTES.txt"]


@functools.cache
def _parsed(values: str, name: str, namespace: str) -> list[Object]:
    return [
        found
        for path, text in sorted(_rendered(values, name, namespace).items())
        if path.endswith(".yaml")
        for found in yaml.load_all(text, yaml.CSafeLoader)
        if found
    ]


@functools.cache
def _rendered(values: str, name: str, namespace: str) -> dict[str, str]:
    with helm_python.Chart.load(CHART) as chart:
        # Rendering alone does not look at the schema; an installation does.
        chart.validate_schema(json.loads(values))
        return chart.render(json.loads(values), name=name, namespace=namespace)


def one(objects: Iterable[Object], kind: str, name: str) -> Object:
    """Return the object of that kind and name; fails unless there is exactly one."""
    found = [item for item in objects if item["kind"] == kind and item["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def kinds(objects: Iterable[Object]) -> set[str]:
    """Return the kinds that occur."""
    return {item["kind"] for item in objects}


def pods(objects: Iterable[Object]) -> Iterator[tuple[str, Object]]:
    """Yield a name and the spec of everything that is or makes a pod."""
    for item in objects:
        label = f"{item['kind']} {item['metadata']['name']}"
        if item["kind"] == "Pod":
            yield label, item["spec"]
        elif "template" in item.get("spec", {}):
            yield label, item["spec"]["template"]["spec"]


def breaches(spec: Object) -> list[str]:
    """Return what of the "restricted" Pod Security Standard a pod does not keep.

    Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/
    """
    found = [key for key in ("hostNetwork", "hostPID", "hostIPC", "hostUsers") if spec.get(key)]
    pod = spec.get("securityContext", {})
    allowed = {
        "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim",
        "projected", "secret", "name",
    }  # fmt: skip
    found += [f"volume {set(volume) - allowed}" for volume in spec.get("volumes", ())
              if set(volume) - allowed]  # fmt: skip
    for container in [*spec.get("initContainers", ()), *spec["containers"]]:
        own = container.get("securityContext", {})
        settled = {**pod, **own}
        checks = {
            "privilege escalation": own.get("allowPrivilegeEscalation") is False,
            "privileged": not own.get("privileged"),
            "capabilities": own.get("capabilities") == {"drop": ["ALL"]},
            "runs as root": settled.get("runAsNonRoot") is True and settled.get("runAsUser") != 0,
            "seccomp": settled.get("seccompProfile", {}).get("type") == "RuntimeDefault",
            "host port": not any("hostPort" in port for port in container.get("ports", ())),
            "writable root": own.get("readOnlyRootFilesystem") is True,
            "no limit of memory": "memory" in container["resources"]["limits"],
        }
        found += [f"{container['name']}: {what}" for what, kept in checks.items() if not kept]
    return found


def dashboards() -> dict[str, Object]:
    """Return every dashboard of the chart by its file's name."""
    folder = CHART / "files" / "dashboards"
    return {path.name: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
