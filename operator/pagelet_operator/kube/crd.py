"""The CustomResourceDefinition, generated from the pydantic models of `api`.

pydantic speaks JSON Schema, the API server a structural subset of OpenAPI 3.0
(https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema):
no references, no unions with null, no titles; unknown fields are dropped or refused by the
server itself. Defaults are filled in by the server only where a change restarts nothing: in
the parts that make a revision an object keeps what its user wrote, so that a default that
changes in a later version does not become a new revision of everything.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from pagelet_operator.api.resource import (
    GROUP,
    KIND,
    MAX_NAME_LENGTH,
    NAME_PATTERN,
    PLURAL,
    REVISION_PARTS,
    SELF_FALLBACK,
    SHORT_NAME,
    VERSION,
)
from pagelet_operator.api.spec import ModelDeploymentSpec
from pagelet_operator.api.status import ModelDeploymentStatus

Schema = dict[str, Any]

CRD_NAME = f"{PLURAL}.{GROUP}"

_KEPT = (
    "type", "format", "enum", "pattern", "minLength", "maxLength", "minItems", "maxItems",
    "maxProperties", "minimum", "maximum",
)  # fmt: skip


def crd() -> dict[str, Any]:
    """Return the whole CustomResourceDefinition, v1."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": CRD_NAME},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": [SHORT_NAME],
                "categories": ["all"],
            },
            "versions": [_version()],
        },
    }


def spec_schema() -> Schema:
    """Return the structural schema of `spec`."""
    schema = _structural(ModelDeploymentSpec.model_json_schema(by_alias=True))
    for name, part in schema["properties"].items():
        if name in REVISION_PARTS:
            schema["properties"][name] = _without_defaults(part)
        else:
            _fill_defaults(name, part)
    return schema


def status_schema() -> Schema:
    """Return the structural schema of `status`; nothing in it is defaulted."""
    schema = _structural(ModelDeploymentStatus.model_json_schema(by_alias=True))
    return _without_defaults(schema)


def _version() -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _root()},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.scaling.minReplicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": _columns(),
    }


def _root() -> Schema:
    return {
        "type": "object",
        "description": "A language model, served: how to run it, and how a change rolls out.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec_schema(),
            "status": status_schema(),
        },
        "x-kubernetes-validations": [
            {
                "rule": f"size(self.metadata.name) <= {MAX_NAME_LENGTH}",
                "message": f"metadata.name must have at most {MAX_NAME_LENGTH} characters, since "
                f"the revision's hash is appended for its Services",
            },
            {
                "rule": f"self.metadata.name.matches('{NAME_PATTERN}')",
                "message": "metadata.name must be lower-case letters, digits and dashes, and "
                "start with a letter: a Service is named like it",
            },
            {
                "rule": "!has(self.spec.fallback) || self.spec.fallback.all(f, "
                "!has(f.modelDeployment) || f.modelDeployment != self.metadata.name)",
                "message": SELF_FALLBACK,
            },
        ],
    }


def _columns() -> list[dict[str, Any]]:
    condition = '.status.conditions[?(@.type=="{}")].{}'
    rows: list[tuple[str, str, str, int, str]] = [
        ("Ready", "string", condition.format("Ready", "status"), 0, "Whether users get answers."),
        ("Stable", "string", ".status.stable.revision", 0, "The revision that serves."),
        ("Canary", "string", ".status.canary.revision", 0, "The revision on trial."),
        ("Weight", "integer", ".status.canary.weight", 0, "The canary's share, percent."),
        ("p99 TTFT", "string", ".status.figures.stable.ttftP99", 0, "Of the stable revision."),
        ("Queue", "string", ".status.figures.stable.queue", 1, "Of the stable revision, mean."),
        ("Replicas", "integer", ".status.replicas", 0, "Replicas of all revisions."),
        ("Phase", "string", ".status.rollout.phase", 0, "Where the rollout stands."),
        ("Age", "date", ".metadata.creationTimestamp", 0, "Time since it was created."),
        ("Source", "string", ".spec.model.source", 1, "Where the weights are."),
        ("Endpoint", "string", ".status.endpoint", 1, "Base URL inside the cluster."),
        ("Message", "string", ".status.rollout.message", 1, "Why, for people."),
    ]
    return [
        {"name": name, "type": kind, "jsonPath": path, "description": text}
        | ({"priority": priority} if priority else {})
        for name, kind, path, priority, text in rows
    ]


def _structural(document: Schema) -> Schema:
    """Return a pydantic JSON schema as a structural one."""
    return _convert(document, document.get("$defs", {}))


def _convert(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    node = _resolved(node, definitions)
    schema: Schema = {}
    if "description" in node:
        schema["description"] = " ".join(str(node["description"]).split())
    schema |= {key: node[key] for key in _KEPT if key in node}
    if node.get("type") == "integer":
        schema["format"] = "int64"
    for bound, flag in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if flag in node:
            schema |= {bound: node[flag], flag: True}
    if node.get("default") is not None:
        schema["default"] = node["default"]
    if "required" in node:
        schema["required"] = node["required"]
    if "properties" in node:
        schema["properties"] = {
            key: _convert(value, definitions) for key, value in node["properties"].items()
        }
    elif isinstance(node.get("additionalProperties"), dict):
        schema["additionalProperties"] = _convert(node["additionalProperties"], definitions)
    if "items" in node:
        schema["items"] = _convert(node["items"], definitions)
    return schema | {key: value for key, value in node.items() if key.startswith("x-kubernetes-")}


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """Return `node` without `$ref` and without the null that marks an optional field."""
    merged = dict(node)
    while "$ref" in merged or "anyOf" in merged:
        target = merged.pop("$ref", None)
        if target is not None:
            inner = definitions[target.removeprefix("#/$defs/")]
        else:
            (inner,) = (item for item in merged.pop("anyOf") if item.get("type") != "null")
        # What is said beside a reference is nearer to the field, so it wins.
        merged = {**inner, **merged}
    return merged


def _fill_defaults(name: str, part: Schema) -> None:
    """Say the defaults that pydantic makes by a factory and so leaves out of its schema."""
    fields = {field.alias: field for field in ModelDeploymentSpec.model_fields.values()}
    model = fields[name].get_default(call_default_factory=True)
    if not isinstance(model, BaseModel):
        return  # A list: absent and empty mean the same.
    part["default"] = {}
    for key, value in model.model_dump(mode="json", by_alias=True, exclude_none=True).items():
        part["properties"][key].setdefault("default", value)


def _without_defaults(schema: Schema) -> Schema:
    out = {key: value for key, value in schema.items() if key != "default"}
    if "properties" in out:
        out["properties"] = {k: _without_defaults(v) for k, v in out["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in out:
            out[key] = _without_defaults(out[key])
    return out
