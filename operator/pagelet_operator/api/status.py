"""`status` of a ModelDeployment, v1alpha1: what the operator says, and what it remembers.

`status.rollout` is the operator's whole memory of a rollout, so that a restart changes
nothing. Times are RFC 3339 strings for people and Unix seconds where the operator reads
them back.
"""

from typing import Any, Literal

from pydantic import Field

from pagelet_operator.api.wire import WireModel


class Condition(WireModel):
    """A condition by the Kubernetes API conventions."""

    type: str = Field(description="Accepted, Ready, Progressing or Stalled.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(description="One CamelCase word, the same as in log and event.")
    message: str = Field(default="", description="For people.")
    observed_generation: int = Field(description="The generation it was decided on.")
    last_transition_time: str = Field(
        description="When `status` last changed.", json_schema_extra={"format": "date-time"}
    )


class RevisionStatus(WireModel):
    """One revision and its replicas."""

    revision: str = Field(description="Name of the revision and of its objects.")
    weight: int = Field(description="Share of requests it is meant to get, percent.")
    replicas: int = Field(description="Replicas it should have.")
    ready_replicas: int = Field(description="Replicas that answer now.")


class RetainedStatus(WireModel):
    """A revision kept without traffic."""

    revision: str = Field(description="Name of the revision.")
    until: float = Field(description="When it is removed, Unix seconds.")


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
    step_started_at: float = Field(default=0.0, description="Unix seconds.")
    unready_since: float | None = Field(
        default=None, description="Since when the canary lacks ready replicas, Unix seconds."
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
