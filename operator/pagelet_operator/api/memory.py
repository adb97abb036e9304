"""`status.rollout`: the operator's memory of a rollout, written and read back without a loss.

What an earlier version wrote is read as well: what it did not know is left at its default, and
the rollout goes on where it was.
"""

from datetime import UTC, datetime
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from pagelet_operator.api import gate_memory
from pagelet_operator.api.status import (
    AssessmentStatus,
    CommandStatus,
    PauseStatus,
    RetainedStatus,
    RolloutStatus,
)
from pagelet_operator.core.analysis import Verdict
from pagelet_operator.core.model import Capacity
from pagelet_operator.core.rollout import (
    Answer,
    Assessment,
    Pause,
    Phase,
    Retained,
    RolloutState,
)

Part = TypeVar("Part", bound=BaseModel)


def state(stored: object) -> RolloutState:
    """Return what is remembered; a fresh state where nothing usable is stored."""
    rollout = part(RolloutStatus, stored)
    if rollout is None:
        return RolloutState()
    return RolloutState(
        phase=Phase(rollout.phase),
        stable=rollout.stable,
        canary=rollout.canary,
        failed=rollout.failed,
        step=rollout.step,
        step_started_at=unix(rollout.step_started_at) or 0.0,
        weight=rollout.weight,
        unready_since=unix(rollout.unready_since),
        undecided_since=unix(rollout.undecided_since),
        assessment=_assessment(rollout.assessment),
        paused=_pause(rollout.paused),
        capacity=None if rollout.capacity is None else Capacity(rollout.capacity),
        retained=tuple(map(_retained, rollout.retained)),
        answer=_answer(rollout.command),
        gates=gate_memory.read(rollout.gates),
        message=rollout.message,
    )


def rollout_status(state: RolloutState) -> RolloutStatus:
    """Return what is to be stored."""
    seen, paused, answer = state.assessment, state.paused, state.answer
    return RolloutStatus.model_validate(
        {
            "phase": state.phase.value,
            "stable": state.stable,
            "canary": state.canary,
            "failed": state.failed,
            "step": state.step,
            "stepStartedAt": precise(state.step_started_at) if state.step_started_at else None,
            "weight": state.weight,
            "unreadySince": _maybe(state.unready_since),
            "undecidedSince": _maybe(state.undecided_since),
            "assessment": seen
            and {
                "verdict": seen.verdict.value,
                "message": seen.message,
                "at": precise(seen.at),
                "failures": seen.failures,
            },
            "paused": paused
            and {
                "since": precise(paused.since),
                "reason": paused.reason,
                "message": paused.message,
            },
            "capacity": state.capacity and state.capacity.value,
            "retained": [
                {
                    "revision": r.revision,
                    "until": precise(r.until),
                    "proven": r.proven,
                    "weight": r.weight,
                    "capacity": r.capacity and r.capacity.value,
                }
                for r in state.retained
            ],
            "command": answer
            and {"token": answer.token, "accepted": answer.accepted, "message": answer.message},
            "gates": gate_memory.wire(state.gates),
            "message": state.message,
        }
    )


def part(kind: type[Part], stored: object) -> Part | None:
    """Return one part of a status; None if another version, or a hand, wrote it otherwise."""
    try:
        return kind.model_validate(stored)
    except ValidationError:
        return None


def rfc3339(unix_s: float) -> str:
    """Return a Unix time as Kubernetes writes it, in whole seconds UTC."""
    return datetime.fromtimestamp(int(unix_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def precise(unix_s: float) -> str:
    """Return a Unix time with its milliseconds, for what is read back."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")


def unix(time: str | None) -> float | None:
    """Return a stored time as Unix seconds."""
    # Whole milliseconds, so that writing and reading any number of times changes nothing.
    return None if time is None else round(datetime.fromisoformat(time).timestamp(), 3)


def _maybe(unix_s: float | None) -> str | None:
    return None if unix_s is None else precise(unix_s)


def _retained(stored: RetainedStatus) -> Retained:
    room = None if stored.capacity is None else Capacity(stored.capacity)
    until = unix(stored.until) or 0.0
    return Retained(stored.revision, until, stored.proven, stored.weight, room)


def _assessment(stored: AssessmentStatus | None) -> Assessment | None:
    if stored is None:
        return None
    at = unix(stored.at) or 0.0
    return Assessment(Verdict(stored.verdict), stored.message, at, stored.failures)


def _pause(stored: PauseStatus | None) -> Pause | None:
    if stored is None:
        return None
    return Pause(unix(stored.since) or 0.0, stored.reason, stored.message)


def _answer(stored: CommandStatus | None) -> Answer | None:
    return None if stored is None else Answer(stored.token, stored.accepted, stored.message)
