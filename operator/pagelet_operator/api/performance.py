"""`status.performance`: what is remembered of load tests, written and read back without a loss."""

from pagelet_operator.api.gate_memory import read_lengths, wire_lengths
from pagelet_operator.api.memory import part, precise, unix
from pagelet_operator.api.status import PerformanceStatus
from pagelet_operator.core.performance import UNKNOWN, Performance
from pagelet_operator.core.revalidation import Reason


def wire(found: Performance) -> PerformanceStatus | None:
    """Return what is to be stored; None where there is nothing to remember."""
    if found == UNKNOWN:
        return None
    return PerformanceStatus.model_validate(
        {
            "revision": found.revision,
            "reason": found.reason and found.reason.value,
            "message": found.message,
            "since": _maybe(found.since or None),
            "dueAt": _maybe(found.due_at),
            "notBefore": _maybe(found.not_before or None),
            "testing": found.testing,
            "lengths": wire_lengths(found.lengths),
            "note": found.note,
            "requestsPerHour": list(found.hours),
            "hourEndsAt": _maybe(found.hour_ends_at),
        }
    )


def read(stored: object) -> Performance:
    """Return what is remembered; nothing where nothing usable is stored."""
    found = part(PerformanceStatus, stored)
    if found is None:
        return UNKNOWN
    return Performance(
        revision=found.revision,
        reason=None if found.reason is None else Reason(found.reason),
        message=found.message,
        since=unix(found.since) or 0.0,
        due_at=unix(found.due_at),
        not_before=unix(found.not_before) or 0.0,
        testing=found.testing,
        lengths=read_lengths(found.lengths),
        note=found.note,
        hours=tuple(found.requests_per_hour),
        hour_ends_at=unix(found.hour_ends_at),
    )


def _maybe(unix_s: float | None) -> str | None:
    return None if unix_s is None else precise(unix_s)
