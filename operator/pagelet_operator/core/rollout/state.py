"""What a rollout remembers between two looks, and what a look decides."""

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from pagelet_operator.core.analysis import Verdict
from pagelet_operator.core.gates import Memory
from pagelet_operator.core.model import Capacity, Role
from pagelet_operator.core.performance import UNKNOWN, Performance

_NO_GATES: Memory = MappingProxyType({})

DRAIN_S = 5.0
"""Between weight 0 and the end of a withdrawn canary's replicas, seconds. Longer than any
gateway needs to see a new table (< 1 s), so no request is sent to a replica that is ending."""


class Phase(StrEnum):
    """Where a rollout stands. A pause is no phase: it holds one."""

    STARTING = "Starting"
    """A revision waits for its replicas to become ready; it has no traffic."""

    GATING = "Gating"
    """The canary is ready and is tried without users' requests."""

    PROGRESSING = "Progressing"
    """The canary has the weight of the current step, or as much of it as it can carry yet."""

    AWAITING_APPROVAL = "AwaitingApproval"
    """As Progressing; a person has to agree to the next step."""

    PROMOTING = "Promoting"
    """All steps are done; traffic follows the canary's replicas until it has everything."""

    STABLE = "Stable"
    """What the spec asks for serves all traffic."""

    FAILED = "Failed"
    """The spec's revision was withdrawn; it is not tried again until the spec changes."""


ON_TRIAL = frozenset({Phase.PROGRESSING, Phase.AWAITING_APPROVAL, Phase.PROMOTING})
"""Phases in which the canary has traffic."""


@dataclass(frozen=True, slots=True)
class Retained:
    """A revision that is neither stable nor on trial and still has replicas."""

    revision: str
    until: float
    """When its replicas end, Unix seconds; while it has traffic, when stable is overdue."""
    proven: bool = False
    """Whether it served as stable and was replaced: going back to it needs no trial."""
    weight: int = 0
    """Traffic that it keeps because stable has no ready replicas for it yet, percent."""
    capacity: Capacity | None = None
    """Where it found room, while it has traffic; None for beside the stable. Never AUTO."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing advances, no deadline passes; a canary that does harm is withdrawn all the same."""

    since: float
    """Unix seconds."""
    reason: str
    """`Paused` by a person, else what could not be decided: `Inconclusive`, `AnalysisError`, ..."""
    message: str


@dataclass(frozen=True, slots=True)
class Assessment:
    """The last look at what users feel of the canary in its current step."""

    verdict: Verdict
    message: str
    at: float
    """When it was made, Unix seconds; names it, so that no look counts twice."""
    failures: int
    """Looks in a row that said Fail, this one included; what could not be decided ends no row."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of the last command."""

    token: str
    accepted: bool
    message: str
    """What it did, or why it did nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutState:
    """All that a rollout remembers; persisted between reconciles (status, or memory)."""

    phase: Phase = Phase.STARTING
    stable: str | None = None
    canary: str | None = None
    """The revision on trial; while `stable` is None, the first one, waiting to serve."""
    failed: str | None = None
    """The revision that was withdrawn, so that it is not tried again."""
    step: int = 0
    """Index into the policy's steps; meaningful while there is a canary."""
    step_started_at: float = 0.0
    """Since when the canary has had the step's weight."""
    weight: int | None = None
    """The canary's traffic, percent; None before it has any, and in memory of earlier versions."""
    unready_since: float | None = None
    """Since when the canary has lacked ready replicas; None while it has them."""
    undecided_since: float | None = None
    """Since when a step that is over waits for a verdict; None while it does not."""
    assessment: Assessment | None = None
    paused: Pause | None = None
    capacity: Capacity | None = None
    """Where this canary found room; None for beside the stable, as at first. Never AUTO."""
    retained: tuple[Retained, ...] = ()
    answer: Answer | None = None
    gates: Memory = field(default_factory=lambda: _NO_GATES, hash=False)
    """Results of gates, of this canary and of revisions before it."""
    performance: Performance = UNKNOWN
    """Of load tests of what serves; no part of the rollout (`core.retest`)."""
    message: str = ""
    """Why the phase is what it is, for people."""

    @property
    def carriers(self) -> tuple[Retained, ...]:
        """The dropped canaries that still answer for a stable that is not ready."""
        return tuple(item for item in self.retained if item.weight)

    def is_overdue(self, now: float) -> bool:
        """Return whether stable takes longer to come back than a rollout may wait."""
        return any(item.until <= now for item in self.carriers)

    @property
    def shown_phase(self) -> str:
        """The phase in one word, for people: a pause hides what it holds."""
        return "Paused" if self.paused is not None else self.phase.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What `step` wants the world to be."""

    state: RolloutState
    weights: dict[str, int]
    """Percent by revision; sums to 100 once something is stable, else empty."""
    roles: dict[str, Role]
    """Every revision that should have replicas, stable first."""
    replicas: dict[str, int]
    """How many replicas stable and canary should have; a retired revision keeps what it has."""
    reason: str
    """One CamelCase word; the same in log, event and condition."""
    wake_at: float | None
    """When time alone changes the decision next (Unix seconds), or None."""
