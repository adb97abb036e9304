"""`status.scaling`: how many replicas were decided and why, and the scaler's lasting memory.

Written when the number changes, else when what holds it changes, at most once a minute: readings
come four times a minute, and a status that followed each would be written without end.
"""

from collections.abc import Mapping
from typing import Any

from pagelet_operator.api.memory import part, rfc3339, unix
from pagelet_operator.api.status import ScalingStatus
from pagelet_operator.core.scaling import ScaleDecision, ScalerState

REFRESH_S = 60.0
"""Between two writes that change no number of replicas, seconds."""

STEADY = frozenset(
    {
        "AtTarget", "AtMinimum", "FirstReading", "WindowNotFull", "NotAllLow", "Settling",
        "WaitingForReplicas", "RolloutInProgress",
    }
)  # fmt: skip
"""Reasons under which the number is right, or will be by itself; they come and go all day."""


def scaling_status(
    decision: ScaleDecision | None, stored: object, now: float
) -> ScalingStatus | None:
    """Return what is to be stored: the decision, or what was stored while it says the same.

    Args:
        decision: The last one; None where nothing is scaled.
        stored: `status.scaling` as it was read.
        now: Unix seconds.
    """
    if decision is None:
        return None
    before = part(ScalingStatus, stored)
    if before is not None and not _is_news(decision, before, now):
        return before
    state = decision.state
    return ScalingStatus(
        replicas=decision.replicas,
        reason=decision.reason,
        message=decision.message,
        decided_at=rfc3339(now),
        inputs={name: _rounded(value) for name, value in decision.inputs.items()},
        rising=state.rising,
        reversed_up_at=None if state.reversed_up_at is None else rfc3339(state.reversed_up_at),
        cold_start_seconds=_maybe(state.cold_start_s),
        capacity=_maybe(state.capacity),
        tokens_capacity=_maybe(state.tokens_capacity),
    )


def scaler_state(status: Mapping[str, Any] | None) -> ScalerState | None:
    """Return what the scaler remembers by its status; None where nothing usable is stored."""
    found = part(ScalingStatus, (status or {}).get("scaling"))
    if found is None:
        return None
    return ScalerState(
        replicas=found.replicas,
        rising=found.rising,
        reversed_up_at=unix(found.reversed_up_at),
        cold_start_s=found.cold_start_seconds,
        capacity=found.capacity,
        tokens_capacity=found.tokens_capacity,
        reason=found.reason,
        message=found.message,
    )


def _is_news(decision: ScaleDecision, before: ScalingStatus, now: float) -> bool:
    if decision.replicas != before.replicas:
        return True
    if now < (unix(before.decided_at) or 0.0) + REFRESH_S:
        return False
    return _kind(decision.reason) != _kind(before.reason)


def _kind(reason: str) -> str:
    return "Steady" if reason in STEADY else reason


def _rounded(value: float) -> float:
    # Infinity, a p99 above the last bucket, is no JSON.
    return float(f"{min(value, 1e9):.4g}")


def _maybe(value: float | None) -> float | None:
    return None if value is None else _rounded(value)
