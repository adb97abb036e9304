"""`spec` of a ModelDeployment, v1alpha1: every field, its default and the default's reason.

The field descriptions are the CRD's and the reference page's. Rules that span fields are
written twice on purpose: as CEL for the API server (`x-kubernetes-validations`, beside the
model they belong to) and as a pydantic validator for one machine; a test feeds the same bad
resources to both.
"""

from pydantic import Field

from pagelet_operator.api.engine import EngineSettings, ModelSource
from pagelet_operator.api.limits import Limits
from pagelet_operator.api.pod import PodSettings
from pagelet_operator.api.rollout import Rollout
from pagelet_operator.api.routing import MAX_FALLBACKS, CircuitBreaker, Fallback, Routing
from pagelet_operator.api.scaling import Scaling
from pagelet_operator.api.wire import WireModel


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
