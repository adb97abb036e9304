"""`spec.pod`: what the engine's pods need of the cluster, an allow-list of a Pod's own fields.

Whoever may create a ModelDeployment must not gain more than that: no host paths, no other
code by environment, no free pod template.
"""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, field_validator, model_validator

from pagelet_operator.api.affinity import Affinity
from pagelet_operator.api.quantities import Quantity
from pagelet_operator.api.wire import WireModel, cel_rule

RESERVED_ENV = r"^(PYTHON.*|LD_.*|PAGELET_.*)$"


class EnvVar(WireModel):
    """One environment variable of the engine's container, as a plain value."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)] = (
        Field(description="Name. PYTHON*, LD_* and PAGELET_* are refused: they could change code.")
    )
    value: str = Field(default="", max_length=4096, description="Value, as it is.")

    @model_validator(mode="after")
    def _harmless(self) -> Self:
        if self.name.startswith(("PYTHON", "LD_", "PAGELET_")):
            raise ValueError(
                f"env {self.name} is reserved; PYTHON*, LD_* and PAGELET_* are refused"
            )
        return self

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel_rule(
                    f"!self.name.matches('{RESERVED_ENV}')",
                    "env names PYTHON*, LD_* and PAGELET_* are reserved",
                )
            ]
        }
    )


class Resources(WireModel):
    """Compute resources of one engine container, as in a Pod."""

    requests: dict[str, Quantity] = Field(
        default_factory=dict, max_length=32, description="What the scheduler reserves."
    )
    limits: dict[str, Quantity] = Field(
        default_factory=dict,
        max_length=32,
        description="What may be used at most, e.g. nvidia.com/gpu: 1.",
    )


class Toleration(WireModel):
    """A toleration, as in a Pod."""

    key: str | None = Field(default=None, description="Taint key; absent matches all keys.")
    operator: Literal["Exists", "Equal"] = Field(default="Equal", description="How value matches.")
    value: str | None = Field(default=None, description="Taint value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Taint effect; absent matches all effects."
    )
    toleration_seconds: int | None = Field(
        default=None, description="How long NoExecute is tolerated, seconds."
    )


class LocalObjectReference(WireModel):
    """An object in the resource's namespace."""

    name: str = Field(min_length=1, max_length=253, description="Name of the object.")


class PodSettings(WireModel):
    """What the engine's pods need of the cluster. Ignored on one machine, except env."""

    resources: Resources = Field(
        default_factory=Resources, description="Requests and limits of the engine container."
    )
    node_selector: dict[str, str] = Field(
        default_factory=dict, description="Labels that a node must have."
    )
    tolerations: list[Toleration] = Field(
        default_factory=list, max_length=32, description="Taints that the pods tolerate."
    )
    affinity: Affinity | None = Field(default=None, description="Affinity, as in a Pod.")
    env: list[EnvVar] = Field(
        default_factory=list,
        max_length=64,
        description="Environment of the engine container; each name once.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    image_pull_secrets: list[LocalObjectReference] = Field(
        default_factory=list, max_length=8, description="Secrets for pulling the image."
    )
    runtime_class_name: str | None = Field(
        default=None, max_length=253, description="RuntimeClass, e.g. nvidia."
    )
    priority_class_name: str | None = Field(
        default=None, max_length=253, description="PriorityClass of the pods."
    )
    service_account_name: str | None = Field(
        default=None,
        max_length=253,
        description="ServiceAccount of the pods. Default: the namespace's, no token mounted.",
    )

    @field_validator("env")
    @classmethod
    def _names_once(cls, env: list[EnvVar]) -> list[EnvVar]:
        names = [item.name for item in env]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name} is set twice; keep one of the two")
        return env
