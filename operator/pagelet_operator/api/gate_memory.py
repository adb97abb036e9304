"""`status.rollout.gates`: results of gates, written and read back without a loss."""

from collections.abc import Sequence
from datetime import UTC, datetime

from pagelet_operator.api.status import GateStatus, LengthsStatus
from pagelet_operator.core import gates as core
from pagelet_operator.core.lengths import NO_LENGTHS, Lengths


def wire(memory: core.Memory) -> list[GateStatus]:
    """Return what is to be stored, in an order that does not change by itself."""
    return [_wire(key, result) for key, result in sorted(memory.items(), key=lambda item: item[0])]


def read(stored: Sequence[GateStatus]) -> core.Memory:
    """Return what is remembered."""
    return {
        core.GateKey(item.revision, core.GateKind(item.gate), item.settings): core.GateResult(
            status=core.GateStatus(item.status),
            message=item.message,
            started_at=_unix(item.started_at) or 0.0,
            finished_at=_unix(item.finished_at),
            errors=item.errors,
            figures=dict(item.figures),
            lengths=read_lengths(item.lengths),
        )
        for item in stored
    }


def _wire(key: core.GateKey, result: core.GateResult) -> GateStatus:
    return GateStatus.model_validate(
        {
            "revision": key.revision,
            "gate": key.kind.value,
            "settings": key.settings,
            "status": result.status.value,
            "message": result.message,
            "startedAt": _time(result.started_at) if result.started_at else None,
            "finishedAt": _time(result.finished_at),
            "errors": result.errors,
            "figures": dict(result.figures),
            "lengths": wire_lengths(result.lengths),
        }
    )


def wire_lengths(found: Lengths) -> LengthsStatus | None:
    """Return lengths as they are stored; None where nobody counted."""
    if found == NO_LENGTHS:
        return None
    return LengthsStatus(prompt=list(found.prompt), output=list(found.output))


def read_lengths(stored: LengthsStatus | None) -> Lengths:
    """Return stored lengths."""
    if stored is None:
        return NO_LENGTHS
    return Lengths(prompt=tuple(stored.prompt), output=tuple(stored.output))


def _time(unix_s: float | None) -> str | None:
    if unix_s is None:
        return None
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")


def _unix(time: str | None) -> float | None:
    # Whole milliseconds, so that writing and reading any number of times changes nothing.
    return None if time is None else round(datetime.fromisoformat(time).timestamp(), 3)
