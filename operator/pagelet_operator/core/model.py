"""The nouns the control plane decides about, as plain frozen data.

`Model` is what a user asks for, `Fleet` what the world shows, `Plan` what the world should
become. The pydantic models of `api` are the wire format; they are translated into these at
the edge, so that a decision never meets a default, a unit or a Kubernetes type.

Times are Unix seconds, durations seconds, weights integer percent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from pagelet_operator.core.analysis import AnalysisPolicy
from pagelet_operator.core.gates import Gate
from pagelet_operator.core.scaling import ScalingPolicy

Template = Mapping[str, Any]
"""The parts of a spec that need new replicas when they change: model, engine, pod (JSON)."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, order=True)
class ModelRef:
    """Which resource: the key of everything a reconcile reads and writes."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Role(StrEnum):
    """What a revision is to its model; traffic and labels follow it, replicas never do."""

    STABLE = "stable"
    CANARY = "canary"
    RETIRED = "retired"
    """Kept for a while without traffic: a way back, or a stream's time to finish."""


class Strategy(StrEnum):
    """How the new revision takes over."""

    CANARY = "Canary"
    """Traffic rises step by step."""
    BLUE_GREEN = "BlueGreen"
    """All traffic moves at once, when all replicas are ready and the gates are passed."""
    RECREATE = "Recreate"
    """The old replicas end before the new ones start; nobody answers in between."""


class Capacity(StrEnum):
    """Where the canary's replicas find room."""

    AUTO = "Auto"
    """Surge while there is room, else what spares most of: Borrow, InPlace, waiting."""
    SURGE = "Surge"
    """Beside all replicas of the stable revision."""
    BORROW = "Borrow"
    """In the place of some of them; at least one serves until the canary has all traffic."""
    IN_PLACE = "InPlace"
    """In their place, all of them if no request needs one."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a rollout: this much traffic for the canary, for this long."""

    weight: int
    hold_s: float
    approval: bool = False
    """Whether a person has to agree before the step is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPolicy:
    """How a new revision takes over."""

    steps: tuple[Step, ...]
    """Weights rise strictly; a last step below 100 is followed by promotion all the same."""

    progress_deadline_s: float
    """Longest time a canary may be without enough ready replicas."""

    retain_stable_s: float
    """How long a replaced stable stays warm, so that the way back needs no model load."""

    strategy: Strategy = Strategy.CANARY
    capacity: Capacity = Capacity.AUTO
    gated: bool = False
    """Whether gates must be passed before the canary gets a user's request."""
    gates: tuple[Gate, ...] = ()
    """Which, where it is gated."""
    analysis: AnalysisPolicy | None = None
    """How the canary is judged while it has traffic; None where only time counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficPolicy:
    """What the gateway does for a model beside sending it requests; data that is passed on."""

    entry: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    """Limits, tenants, routing, breaker and fallback, as in a route table's entry."""
    canary: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    """What a canary may take, as in a route table's revision."""
    missing: tuple[str, ...] = ()
    """ModelDeployments that are named as fallback and do not exist; left out of `entry`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What one accepted ModelDeployment asks for."""

    ref: ModelRef
    generation: int
    served_name: str
    """The `model` that clients send."""
    revision: str
    """`revision_name` of `template`: the revision that should become stable."""
    template: Template
    replicas: int
    """Replicas a revision has in full."""
    request_timeout_s: float
    rollout: RolloutPolicy
    traffic: TrafficPolicy = TrafficPolicy()
    scaling: ScalingPolicy | None = None
    """What the number of replicas follows; None where it is fixed or somebody else's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionFleet:
    """What the world shows of one revision's replicas."""

    revision: str
    template: Template
    replicas: int
    """Replicas asked of the world, whatever their state."""
    endpoints: tuple[str, ...] = ()
    """Base URLs of the replicas that are ready, sorted."""
    role: Role | None = None
    """What the world says it is, as of the last plan carried out; None where it says nothing."""
    failure: str | None = None
    """Why it can never become ready as configured (the engine's own sentence), or None."""
    blocked: str | None = None
    """What keeps its replicas from being made for now, such as a quota, or None."""
    short: str | None = None
    """What they lack to start, such as GPUs or a quota, in the world's own words, or None."""

    @property
    def ready(self) -> int:
        """Replicas that answer requests now."""
        return len(self.endpoints)


@dataclass(frozen=True, slots=True)
class Fleet:
    """All revisions of one model that exist in the world, by revision name."""

    revisions: Mapping[str, RevisionFleet] = field(default_factory=lambda: _NOTHING)

    def ready(self, revision: str | None) -> int:
        """Return how many replicas of `revision` are ready; 0 if it does not exist."""
        seen = self.revisions.get(revision or "")
        return seen.ready if seen else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionPlan:
    """The replicas one revision should have."""

    revision: str
    template: Template
    role: Role
    replicas: int
    weight: int
    first_out: tuple[str, ...] = ()
    """Endpoints in the order in which they should end if there are more than `replicas`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The whole desired state of one model; what is not named here should not exist."""

    revisions: tuple[RevisionPlan, ...]
    traffic: Mapping[str, Any]
    """The model's entry of the route table (docs/reference/route-table.md)."""

    def __contains__(self, revision: object) -> bool:
        return any(item.revision == revision for item in self.revisions)
