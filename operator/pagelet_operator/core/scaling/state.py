"""What the scaler remembers between two looks, and what a look decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_NO_STREAMS: Mapping[str, float] = MappingProxyType({})

COLD_START_S = 120.0
"""Assumed until one was measured: weights from a local disk, and a warm-up."""

SHAPE = "RequestShape"
"""The reason that blames the requests' form and not their number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One reading that could be believed, and what it was worth."""

    at: float
    ready: int
    running: float
    waiting: float
    served_per_s: float
    demand: float
    """Sequences that would be computed at once if none had to wait."""
    catch_up: float
    """As many again to work off what waits."""
    kv_replicas: float
    """Replicas whose KV cache is full, as a fraction of a replica."""
    tokens_per_s: float
    breach: str | None
    """The target that is missed, as a reason; None while all hold."""
    low: bool
    """Whether no signal speaks for keeping what there is."""
    idle: bool
    """Whether no request was seen at all."""


@dataclass(frozen=True, slots=True)
class Change:
    """A number of replicas that was decided."""

    at: float
    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalerState:
    """Everything remembered.

    `samples` may be lost: without them nothing is scaled down until the window is full again.
    All else is small, changes with decisions only, and should be stored.
    """

    replicas: int | None = None
    """Decided last; None before the first decision."""
    samples: tuple[Sample, ...] = ()
    """As far back as a decision looks, oldest first."""
    changes: tuple[Change, ...] = ()
    """Of the last minute, oldest first."""
    rising: bool | None = None
    """Direction of the last change; None before the first."""
    reversed_up_at: float | None = None
    """When more replicas were needed again after some had been taken away."""
    pending_since: float | None = None
    """Since when replicas that were asked for are not ready; None while all are."""
    pending_from: int = 0
    """Ready replicas at that time."""
    cold_start_s: float | None = None
    """Measured time from asking for a replica to its being ready."""
    capacity: float | None = None
    """Sequences at once that one replica carries within the targets, as learned."""
    learned_at: float | None = None
    """When the capacity was last lowered."""
    tokens_capacity: float | None = None
    """Output tokens per second of one replica that had a queue."""
    idle_since: float | None = None
    """Since when every reading could be believed and showed no request."""
    reason: str = "NotScaled"
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleDecision:
    """How many replicas there should be, and why."""

    state: ScalerState
    replicas: int
    reason: str
    """One CamelCase word; the same in status, event, log and metric."""
    message: str
    """A sentence with the figures that decided."""
    inputs: Mapping[str, float]
    """What was looked at, by name."""
    wake_at: float
    """When to look again, Unix seconds."""
    streams: Mapping[str, float] = field(default_factory=lambda: _NO_STREAMS)
    """Requests under way by endpoint, as far as replicas told: who has few ends first."""
