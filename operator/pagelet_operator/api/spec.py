"""`spec` of a ModelDeployment, v1alpha1: every field, its default and the default's reason.

The field descriptions are the CRD's and the reference page's. Rules that span fields are
written twice on purpose: as CEL for the API server (`x-kubernetes-validations`, beside the
model they belong to) and as a pydantic validator for one machine; a test feeds the same bad
resources to both.
"""

from itertools import pairwise
from typing import Self

from pydantic import Field, model_validator

from pagelet_operator.api.engine import EngineSettings, ModelSource
from pagelet_operator.api.limits import Limits
from pagelet_operator.api.pod import PodSettings
from pagelet_operator.api.quantities import Duration, Timeout
from pagelet_operator.api.routing import MAX_FALLBACKS, CircuitBreaker, Fallback, Routing
from pagelet_operator.api.wire import WireModel, cel_rule


class Scaling(WireModel):
    """How many replicas each revision has."""

    min_replicas: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="Replicas of every revision that serves; also what `kubectl scale` sets.",
    )


class RolloutStep(WireModel):
    """One step of a rollout."""

    weight: int = Field(ge=1, le=100, description="Share of requests the canary gets, percent.")
    hold: Duration = Field(
        default="60s", description="How long the step lasts before the next one begins."
    )


class Rollout(WireModel):
    """How a new revision takes over from the stable one."""

    steps: list[RolloutStep] = Field(
        default_factory=lambda: [
            RolloutStep(weight=5, hold="60s"),
            RolloutStep(weight=25, hold="60s"),
            RolloutStep(weight=50, hold="60s"),
        ],
        min_length=1,
        max_length=32,
        description=(
            "Weights rise strictly; after the last hold the canary becomes stable. The default "
            "exposes 5 % first, so that a bad canary meets few users."
        ),
        json_schema_extra={
            "x-kubernetes-validations": [
                cel_rule(
                    "self.map(s, s.weight).isSorted() && "
                    "self.all(a, self.exists_one(b, b.weight == a.weight))",
                    "step weights must rise strictly, for example 5, 25, 50",
                )
            ]
        },
    )
    progress_deadline: Timeout = Field(
        default="10m",
        description=(
            "Longest time a canary may lack ready replicas before it is withdrawn. 10m covers "
            "the pull of a large image and the load of an 8B model."
        ),
    )
    retain_stable: Duration = Field(
        default="5m",
        description=(
            "How long the replaced stable stays warm without traffic, so that going back loads "
            "no model. Longer costs its memory for longer."
        ),
    )

    @model_validator(mode="after")
    def _weights_rise(self) -> Self:
        weights = [step.weight for step in self.steps]
        if any(later <= earlier for earlier, later in pairwise(weights)):
            raise ValueError(
                f"step weights must rise strictly, for example 5, 25, 50; got {weights}"
            )
        return self


class ModelDeploymentSpec(WireModel):
    """What a ModelDeployment asks for. Only `model.source` is required."""

    model: ModelSource = Field(description="Which model, and where its files are.")
    engine: EngineSettings = Field(
        default_factory=EngineSettings, description="How an engine runs the model."
    )
    pod: PodSettings = Field(
        default_factory=PodSettings, description="What the engine's pods need of the cluster."
    )
    limits: Limits = Field(default_factory=Limits, description="What requests may use.")
    scaling: Scaling = Field(default_factory=Scaling, description="How many replicas.")
    rollout: Rollout = Field(default_factory=Rollout, description="How a new revision takes over.")
    routing: Routing = Field(
        default_factory=Routing, description="How requests find a revision and an engine."
    )
    circuit_breaker: CircuitBreaker = Field(
        default_factory=CircuitBreaker,
        description="When an engine, or a whole revision, is left alone for a while.",
    )
    fallback: list[Fallback] = Field(
        default_factory=list,
        max_length=MAX_FALLBACKS,
        description=(
            "Who answers when no revision can, in order. Default: nobody; the client is told to "
            "come back later."
        ),
    )
