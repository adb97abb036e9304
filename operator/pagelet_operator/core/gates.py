"""The nouns of gates: what a canary must pass before a user's request reaches it.

A gate is run by a program beside the engines (`pagelet gate`). A result is remembered by
revision, gate and settings. `core.gating` decides which is run when.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from pagelet_operator.core.lengths import NO_LENGTHS, Lengths


class GateKind(StrEnum):
    """The gates, in the order they are run: the cheapest first."""

    WARMUP = "warmup"
    PARITY = "parity"
    LOAD_TEST = "loadTest"


class GateStatus(StrEnum):
    """Where one gate stands."""

    PENDING = "Pending"
    """Started, and the program has not begun yet."""
    RUNNING = "Running"
    MEASURED = "Measured"
    """The program has finished and its figures are there; nobody has judged them yet."""
    PASSED = "Passed"
    FAILED = "Failed"
    ERROR = "Error"


FINISHED = frozenset({GateStatus.PASSED, GateStatus.FAILED, GateStatus.ERROR})

_NO_FIGURES: Mapping[str, float] = MappingProxyType({})
_NO_CURVES: Mapping[str, tuple[float, ...]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, order=True)
class GateKey:
    """What a result is remembered by."""

    revision: str
    kind: GateKind
    settings: str
    """Digest of what the gate was asked to do, eight hex digits."""


@dataclass(frozen=True, slots=True, order=True)
class GateRun:
    """One try of a gate."""

    key: GateKey
    attempt: int = 0
    """Tries that erred before it. Each has a name of its own, so that what is left of an old
    one is never taken for the new one's result."""

    @property
    def name(self) -> str:
        """A name for its Job and its files: at most 63 letters of a DNS label."""
        kind = "load" if self.key.kind is GateKind.LOAD_TEST else self.key.kind.value
        identity = f"{self.key.revision}/{self.key.kind}/{self.key.settings}/{self.attempt}"
        digest = hashlib.sha256(identity.encode()).hexdigest()[:10]
        return f"{self.key.revision[:40].rstrip('-')}-{kind}-{digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """What is known of one gate. Times are Unix seconds."""

    status: GateStatus
    message: str = ""
    started_at: float = 0.0
    finished_at: float | None = None
    errors: int = 0
    """Tries that ended in Error."""
    figures: Mapping[str, float] = field(default_factory=lambda: _NO_FIGURES)
    """What was measured, by name (`core.load_profile`, `core.parity`)."""
    lengths: Lengths = NO_LENGTHS
    """Of a load test's requests that were answered."""
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=lambda: _NO_CURVES)
    """Latencies in seconds at rising percentiles, for a report; not remembered."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate as it is asked for."""

    kind: GateKind
    settings: Mapping[str, Any]
    """JSON that the program reads."""
    limit_s: float
    """Longest run; a canary that needs longer fails."""
    limits: Mapping[str, float] = field(default_factory=lambda: _NO_FIGURES)
    """What the figures are held to. A change of it runs no gate again."""
    same_model_only: bool = False
    """Whether it says nothing of a canary with other weights than stable's."""

    def key(self, revision: str, reference: str | None) -> GateKey:
        """Return what a result for `revision` is remembered by.

        Args:
            revision: The canary.
            reference: The stable revision; parity is a statement about both.
        """
        told = dict(self.settings)
        if self.kind is GateKind.PARITY:
            told["reference"] = reference
        text = json.dumps(told, sort_keys=True, separators=(",", ":"))
        return GateKey(revision, self.kind, hashlib.sha256(text.encode()).hexdigest()[:8])


Memory = Mapping[GateKey, GateResult]
