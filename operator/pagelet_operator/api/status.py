"""`status` of a ModelDeployment, v1alpha1: what the operator says, and what it remembers.

`status.rollout` is the operator's whole memory of a rollout, so that a restart changes
nothing. Times are RFC 3339; those that the operator reads back have milliseconds.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from pagelet_operator.api.wire import WireModel


def _checked_time(value: str) -> str:
    datetime.fromisoformat(value)
    return value


Time = Annotated[
    str,
    AfterValidator(_checked_time),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class Condition(WireModel):
    """A condition by the Kubernetes API conventions."""

    type: str = Field(description="Accepted, Ready, Progressing or Stalled.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(description="One CamelCase word, the same as in log and event.")
    message: str = Field(default="", description="For people.")
    observed_generation: int = Field(description="The generation it was decided on.")
    last_transition_time: Time = Field(description="When `status` last changed.")


class RevisionStatus(WireModel):
    """One revision and its replicas."""

    revision: str = Field(description="Name of the revision and of its objects.")
    weight: int = Field(description="Share of requests it is meant to get, percent.")
    replicas: int = Field(description="Replicas it should have.")
    ready_replicas: int = Field(description="Replicas that answer now.")


class RetainedStatus(WireModel):
    """A revision kept without traffic."""

    revision: str = Field(description="Name of the revision.")
    until: Time = Field(description="When it is removed.")


class RolloutStatus(WireModel):
    """Where the rollout stands; the operator's memory."""

    phase: Literal["Starting", "Progressing", "Stable", "Failed"] = Field(
        description="Where the rollout stands."
    )
    stable: str | None = Field(default=None, description="The revision that serves.")
    canary: str | None = Field(default=None, description="The revision on trial.")
    failed: str | None = Field(
        default=None, description="The withdrawn revision, not tried again until the spec changes."
    )
    step: int = Field(default=0, description="Index of the current step.")
    step_started_at: Time | None = Field(default=None, description="When the step began.")
    unready_since: Time | None = Field(
        default=None, description="Since when the canary lacks ready replicas."
    )
    retained: list[RetainedStatus] = Field(
        default_factory=list, description="Revisions kept without traffic."
    )
    message: str = Field(default="", description="Why, for people.")


class ModelDeploymentStatus(WireModel):
    """What the operator says about a ModelDeployment."""

    observed_generation: int | None = Field(
        default=None, description="The generation this status was decided on."
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        description="Accepted, Ready, Progressing, Stalled.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    stable: RevisionStatus | None = Field(default=None, description="The revision that serves.")
    canary: RevisionStatus | None = Field(default=None, description="The revision on trial.")
    traffic: dict[str, Any] | None = Field(
        default=None,
        description="This model's entry of the route table; gateways obey it.",
        json_schema_extra={"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    )
    rollout: RolloutStatus | None = Field(default=None, description="Where the rollout stands.")
    endpoint: str | None = Field(
        default=None, description="Base URL of the stable revision inside the cluster."
    )
    selector: str | None = Field(
        default=None, description="Label selector of the pods, for the scale subresource."
    )
    replicas: int = Field(default=0, description="Replicas of all revisions.")
    ready_replicas: int = Field(default=0, description="Ready replicas of all revisions.")
