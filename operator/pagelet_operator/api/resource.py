"""The whole resource: parse it, refuse it with a sentence, translate it to `core`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from pagelet_operator.api.analysis import analysis_policy
from pagelet_operator.api.gates import gates
from pagelet_operator.api.quantities import seconds
from pagelet_operator.api.rollout import Rollout
from pagelet_operator.api.scaling import scaling_policy
from pagelet_operator.api.spec import ModelDeploymentSpec
from pagelet_operator.api.status import ModelDeploymentStatus
from pagelet_operator.api.traffic_policy import traffic_policy
from pagelet_operator.api.wire import WireModel
from pagelet_operator.core.model import (
    Capacity,
    Model,
    ModelRef,
    RolloutPolicy,
    Step,
    Strategy,
)
from pagelet_operator.core.revision import revision_name

GROUP = "pagelet.dev"
VERSION = "v1alpha1"
KIND = "ModelDeployment"
PLURAL = "modeldeployments"
SHORT_NAME = "mdep"

MAX_NAME_LENGTH = 50
"""A revision's objects are named `<name>-<10 hex digits>`, and a Service's name has 63 at most."""

NAME_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"

SELF_FALLBACK = "spec.fallback names this ModelDeployment itself; name another one"

REVISION_PARTS = {"model", "engine", "pod"}
"""The parts of a spec whose change needs new replicas."""


class InvalidResourceError(Exception):
    """The resource cannot work as written; the message names the field and what to change."""


class Metadata(WireModel):
    """The part of an object's metadata that Pagelet reads; the rest is passed over."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field(max_length=MAX_NAME_LENGTH, pattern=NAME_PATTERN)
    namespace: str = Field(default="default", min_length=1, max_length=63)
    generation: int = 1


class ModelDeployment(WireModel):
    """One ModelDeployment as a user writes it or as the API server returns it."""

    api_version: Literal["pagelet.dev/v1alpha1"]
    kind: Literal["ModelDeployment"]
    metadata: Metadata
    spec: ModelDeploymentSpec
    status: ModelDeploymentStatus | None = None

    @model_validator(mode="after")
    def _falls_back_to_another(self) -> Self:
        if any(link.model_deployment == self.metadata.name for link in self.spec.fallback):
            raise ValueError(SELF_FALLBACK)
        return self

    @property
    def served_name(self) -> str:
        """The `model` that clients send."""
        return self.spec.model.name or self.metadata.name


def parse(document: object) -> ModelDeployment:
    """Return the resource in a decoded YAML or JSON document.

    Raises:
        InvalidResourceError: One sentence per problem, each with the field's path.
    """
    if not isinstance(document, Mapping):
        raise InvalidResourceError(
            f"expected a ModelDeployment (a mapping), got {type(document).__name__}"
        )
    try:
        # The status is ours and checked where it is read; a bad one must not refuse a spec.
        return ModelDeployment.model_validate(
            {key: value for key, value in document.items() if key != "status"}
        )
    except ValidationError as error:
        raise InvalidResourceError("; ".join(map(_sentence, error.errors()))) from None


def to_model(resource: ModelDeployment, peers: Mapping[str, str] = MappingProxyType({})) -> Model:
    """Translate to what decisions are made on.

    Args:
        resource: The accepted resource.
        peers: `served_name` of the namespace's ModelDeployments by name; at least of those that
            exist and are named as fallback.
    """
    name, spec = resource.metadata.name, resource.spec
    template = spec.model_dump(
        mode="json", by_alias=True, exclude_defaults=True, include=REVISION_PARTS
    )
    return Model(
        ref=ModelRef(resource.metadata.namespace, name),
        generation=resource.metadata.generation,
        served_name=resource.served_name,
        revision=revision_name(name, template),
        template=template,
        replicas=spec.scaling.min_replicas,
        request_timeout_s=seconds(spec.limits.request_timeout),
        rollout=_policy(spec.rollout),
        traffic=traffic_policy(spec, peers),
        scaling=scaling_policy(spec.scaling, template),
    )


def template_spec(template: Mapping[str, Any]) -> ModelDeploymentSpec:
    """Return a revision's template with its defaults, for building replicas from it."""
    return ModelDeploymentSpec.model_validate(dict(template))


def _policy(rollout: Rollout) -> RolloutPolicy:
    asked = gates(rollout.gates)
    return RolloutPolicy(
        strategy=Strategy(rollout.strategy),
        capacity=Capacity(rollout.capacity),
        steps=tuple(Step(s.weight, seconds(s.hold), s.approval) for s in rollout.steps),
        gated=bool(asked),
        gates=asked,
        analysis=analysis_policy(rollout.analysis),
        progress_deadline_s=seconds(rollout.progress_deadline),
        retain_stable_s=seconds(rollout.retain_stable),
    )


def _sentence(error: Any) -> str:
    path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error["loc"]).lstrip(".")
    match error["type"]:
        case "extra_forbidden":
            text = "unknown field; check its spelling and place"
        case "missing":
            text = "is required"
        case "value_error":
            text = str(error["msg"]).removeprefix("Value error, ")
        case _:
            text = f"{_lower(error['msg'])}, got {_shown(error['input'])}"
    return f"{path}: {text}" if path else text


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
