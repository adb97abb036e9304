"""`status` of a ModelDeployment, v1alpha1: what the operator says, and what it remembers.

`status.rollout` is the operator's whole memory of a rollout, so that a restart changes
nothing. Times are RFC 3339; those that the operator reads back have milliseconds.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema

from pagelet_operator.api.traffic_status import TrafficStatus
from pagelet_operator.api.wire import WireModel


def _checked_time(value: str) -> str:
    datetime.fromisoformat(value)
    return value


Time = Annotated[
    str,
    AfterValidator(_checked_time),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class StatusModel(WireModel):
    """A part of the status: what another version of the operator wrote beside it is no fault."""

    model_config = ConfigDict(extra="ignore")


class Condition(StatusModel):
    """A condition by the Kubernetes API conventions."""

    type: str = Field(description="One of ours (docs/reference/operator.md) or another's.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(description="One CamelCase word, the same as in log and event.")
    message: str = Field(default="", description="For people.")
    observed_generation: int | None = Field(
        default=None, description="The generation it was decided on."
    )
    last_transition_time: Time = Field(description="When `status` last changed.")


class RevisionStatus(StatusModel):
    """One revision and its replicas."""

    revision: str = Field(description="Name of the revision and of its objects.")
    weight: int = Field(description="Share of requests it is meant to get, percent.")
    replicas: int = Field(description="Replicas it should have.")
    ready_replicas: int = Field(description="Replicas that answer now.")


class RevisionFigures(StatusModel):
    """What users felt of one revision in the minute before `measuredAt`."""

    revision: str = Field(description="Name of the revision.")
    requests: int = Field(description="Requests that ended.")
    errors: int = Field(description="Of those: 5xx, no answer, broken off, or out of time.")
    ttft_p99: str | None = Field(
        default=None, alias="ttftP99", description="p99 time to the first token."
    )
    itl_p99: str | None = Field(
        default=None, alias="itlP99", description="p99 time between tokens."
    )
    queue: str | None = Field(default=None, description="Waiting requests per replica, mean.")
    kv_cache: str | None = Field(default=None, description="Blocks in use per replica, mean.")
    tokens_per_second: str | None = Field(
        default=None, description="Tokens generated per second, all replicas together."
    )


class FiguresStatus(StatusModel):
    """What users feel, looked at once a minute; decides nothing."""

    measured_at: Time = Field(description="When.")
    stable: RevisionFigures | None = Field(default=None, description="Of the revision that serves.")
    canary: RevisionFigures | None = Field(default=None, description="Of the revision on trial.")


class RetainedStatus(StatusModel):
    """A revision kept beside stable and canary."""

    revision: str = Field(description="Name of the revision.")
    until: Time = Field(
        description="When it is removed; while it has traffic, when stable is overdue."
    )
    proven: bool = Field(
        default=False,
        description="Whether it was stable before: going back to it takes one look and no load.",
    )
    weight: int = Field(
        default=0,
        description="Percent of the traffic, which stable has no ready replicas for yet.",
    )
    capacity: Literal["Borrow", "InPlace"] | None = Field(
        default=None, description="Where it found room, while it has traffic."
    )


class AssessmentStatus(StatusModel):
    """The last look at what users feel of the canary in its current step."""

    verdict: Literal["Pass", "Fail", "Inconclusive", "Error"] = Field(description="What it said.")
    message: str = Field(default="", description="Why.")
    at: Time = Field(description="When it was made.")
    failures: int = Field(default=0, description="Looks in a row that said Fail.")


class PauseStatus(StatusModel):
    """Nothing advances."""

    since: Time = Field(description="Since when; holds and deadlines stand still.")
    reason: str = Field(description="Paused by command, or what could not be decided.")
    message: str = Field(default="", description="Why, and what to do.")


class CommandStatus(StatusModel):
    """What became of the last command."""

    token: str = Field(description="The annotation's value.")
    accepted: bool = Field(description="Whether it was carried out.")
    message: str = Field(default="", description="What it did, or why it did nothing.")


class LengthsStatus(StatusModel):
    """Requests by length, in buckets up to 8, 16, ... 131072 tokens and above."""

    prompt: list[int] = Field(default_factory=list, max_length=16, description="Of prompts.")
    output: list[int] = Field(default_factory=list, max_length=16, description="Of outputs.")


class GateStatus(StatusModel):
    """How a revision did in one gate."""

    revision: str = Field(description="Name of the revision.")
    gate: Literal["warmup", "parity", "loadTest"] = Field(description="Which gate.")
    settings: str = Field(description="Digest of what it was asked to do.")
    status: Literal["Pending", "Running", "Passed", "Failed", "Error"] = Field(
        description="Where it stands. Failed is the canary's fault; Error is tried again."
    )
    message: str = Field(default="", description="Why, or what was measured.")
    started_at: Time | None = Field(default=None, description="When it began.")
    finished_at: Time | None = Field(default=None, description="When it ended.")
    errors: int = Field(default=0, description="Tries that ended in Error.")
    figures: dict[str, float] = Field(
        default_factory=dict,
        description="What was measured: latencies in seconds, shares in percent.",
    )
    lengths: LengthsStatus | None = Field(
        default=None, description="How long a load test's prompts and outputs were."
    )


class RolloutStatus(StatusModel):
    """Where the rollout stands; the operator's memory."""

    phase: Literal[
        "Starting",
        "Gating",
        "Progressing",
        "AwaitingApproval",
        "Promoting",
        "Stable",
        "Failed",
    ] = Field(description="Where the rollout stands; `paused` holds it there.")
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
    weight: int | None = Field(default=None, description="The canary's traffic, percent.")
    undecided_since: Time | None = Field(
        default=None, description="Since when a step that is over waits for a verdict."
    )
    assessment: AssessmentStatus | None = Field(
        default=None, description="The last look at the canary's figures in this step."
    )
    paused: PauseStatus | None = Field(default=None, description="Why nothing advances.")
    capacity: Literal["Borrow", "InPlace"] | None = Field(
        default=None,
        description="Where the canary found room; left out while it is beside the stable.",
    )
    command: CommandStatus | None = Field(default=None, description="The last command's answer.")
    gates: list[GateStatus] = Field(
        default_factory=list,
        max_length=64,
        description="Results of gates, of this canary and of revisions before it.",
    )
    retained: list[RetainedStatus] = Field(
        default_factory=list, description="Revisions kept without traffic."
    )
    message: str = Field(default="", description="Why, for people.")


class PerformanceStatus(StatusModel):
    """Whether a load test speaks for what serves, and when one is run again; memory, too."""

    revision: str | None = Field(default=None, description="The stable revision it is about.")
    reason: (
        Literal[
            "LoadTested",
            "NotTested",
            "ModelChanged",
            "TokenizerChanged",
            "ContextWindowChanged",
            "TrafficShifted",
        ]
        | None
    ) = Field(default=None, description="As in the condition PerformanceValidated.")
    message: str = Field(default="", description="Why.")
    since: Time | None = Field(
        default=None, description="Since when no load test speaks for what serves."
    )
    due_at: Time | None = Field(default=None, description="When the load test is run again.")
    not_before: Time | None = Field(
        default=None, description="Until when a test ended for users' sake is not tried again."
    )
    testing: bool = Field(default=False, description="Whether the load test runs now.")
    lengths: LengthsStatus | None = Field(
        default=None, description="What the running test's requests are like."
    )
    note: str = Field(default="", description="What becomes of the load test.")
    requests_per_hour: list[int] = Field(
        default_factory=list,
        max_length=23,
        description="Of the last whole hours: when the load test is in nobody's way.",
    )
    hour_ends_at: Time | None = Field(default=None, description="When the next hour is counted.")


class ScalingStatus(StatusModel):
    """The last decision on the number of replicas."""

    replicas: int = Field(description="Replicas that a revision has in full.")
    reason: str = Field(description="Why, in one CamelCase word.")
    message: str = Field(default="", description="Why, with the figures that decided.")
    decided_at: Time = Field(description="When.")
    inputs: dict[str, float] = Field(
        default_factory=dict,
        description="What was looked at: latencies in seconds, kvCacheUsage a ratio.",
    )
    rising: bool | None = Field(
        default=None, description="Whether the last change was a rise; left out before the first."
    )
    reversed_up_at: Time | None = Field(
        default=None, description="When replicas that had been given back were needed again."
    )
    cold_start_seconds: float | None = Field(
        default=None, description="Measured time from asking for a replica to its being ready."
    )
    capacity: float | None = Field(
        default=None, description="Requests at once that one replica carries, as learned."
    )
    tokens_capacity: float | None = Field(
        default=None, description="Output tokens per second of a replica with a queue, as measured."
    )


class ModelDeploymentStatus(StatusModel):
    """What the operator says about a ModelDeployment."""

    observed_generation: int | None = Field(
        default=None, description="The generation this status was decided on."
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        description="Accepted, Applied, Ready, Progressing, Stalled, and what others add.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    stable: RevisionStatus | None = Field(default=None, description="The revision that serves.")
    canary: RevisionStatus | None = Field(default=None, description="The revision on trial.")
    traffic: TrafficStatus | None = Field(
        default=None, description="This model's entry of the route table."
    )
    rollout: RolloutStatus | None = Field(default=None, description="Where the rollout stands.")
    figures: FiguresStatus | None = Field(
        default=None, description="What users feel of each revision."
    )
    performance: PerformanceStatus | None = Field(
        default=None, description="Whether a load test speaks for what serves."
    )
    scaling: ScalingStatus | None = Field(
        default=None, description="How many replicas were decided; left out where none are."
    )
    endpoint: str | None = Field(
        default=None,
        description="Base URL of the gateway that serves the model inside the cluster.",
    )
    selector: str | None = Field(
        default=None, description="Label selector of the pods, for the scale subresource."
    )
    replicas: int = Field(default=0, description="Replicas of all revisions.")
    ready_replicas: int = Field(default=0, description="Ready replicas of all revisions.")
