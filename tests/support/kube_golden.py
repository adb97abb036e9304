"""Reviewed YAML of built manifests; run as a program to write it anew after a wanted change.

python tests/support/kube_golden.py
"""

from pathlib import Path
from typing import Any

from operator_resources import resource
from pagelet_operator.api.resource import parse, to_model
from pagelet_operator.core.model import ModelRef, Plan, RevisionPlan, Role
from pagelet_operator.kube import manifests
from pagelet_operator.kube.generate import to_yaml
from pagelet_operator.kube.manifests import Owner
from pagelet_operator.kube.pod_template import pod_template

FOLDER = Path(__file__).parents[1] / "operator" / "kube" / "golden"

OWNER = Owner(ModelRef("models", "chat"), "00000000-0000-0000-0000-000000000001")

CASES: dict[str, dict[str, Any]] = {
    "minimal": resource(),
    "everything": resource(
        model={
            "name": "org/chat", "source": "pvc://weights/llama/8b", "revision": "abc123",
            "tokenSecretRef": {"name": "hub", "key": "token"},
        },
        engine={
            "image": "example.org/engine:2", "dtype": "bfloat16", "device": "cuda",
            "maxModelLen": 8192, "blockSize": 32, "maxNumSeqs": 32, "maxNumBatchedTokens": 4096,
            "kvCacheMemory": "8Gi", "gpuMemoryFraction": 0.8,
        },
        pod={
            "resources": {"requests": {"cpu": 2}, "limits": {"nvidia.com/gpu": 1}},
            "nodeSelector": {"gpu": "h100"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "env": [{"name": "HOME", "value": "/elsewhere"}, {"name": "EMPTY"}],
            "imagePullSecrets": [{"name": "registry"}],
            "runtimeClassName": "nvidia", "priorityClassName": "serving",
            "serviceAccountName": "models",
        },
        scaling={"minReplicas": 3},
    ),
}  # fmt: skip


def objects(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all objects of a model whose first revision is stable."""
    model = to_model(parse(document))
    item = RevisionPlan(
        revision=model.revision,
        template=model.template,
        role=Role.STABLE,
        replicas=model.replicas,
        weight=100,
    )
    pod = pod_template("chat", item.revision, item.template, "example.org/engine:1")
    data = manifests.snapshot(item.template, pod)
    service = manifests.model_service(OWNER, Plan(revisions=(item,), traffic={}))
    assert service is not None
    return [
        manifests.controller_revision(OWNER, item.revision, data, 1),
        manifests.deployment(OWNER, item, data),
        manifests.revision_service(OWNER, item),
        service,
    ]


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, document in CASES.items():
        (FOLDER / f"{name}.yaml").write_text(to_yaml(objects(document)), "utf-8")
