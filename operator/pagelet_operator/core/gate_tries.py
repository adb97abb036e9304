"""What became of one try of a gate: passed, failed, or an error that is tried again.

Failed is the canary's fault and final for these settings. Error is nobody's: the program could
not run or could not tell. It is tried again, ever later.
"""

from collections.abc import Mapping
from dataclasses import replace

from pagelet_operator.core import load_profile, parity, warmup
from pagelet_operator.core.gates import FINISHED, Gate, GateKind, GateResult, GateStatus

FIRST_RETRY_S = 10.0
"""After the first Error; doubled after each further one."""

LAST_RETRY_S = 300.0
"""Longest wait between two tries: as long as an image that cannot be pulled is looked for."""

START_LIMIT_S = 300.0
"""A program that has not begun by then has no room or no image: Error, not the canary's fault."""

MAX_MESSAGE = 600
"""Characters of a message; status holds it."""


def judge(
    gate: Gate, figures: Mapping[str, float], stable: Mapping[str, float] | None
) -> GateResult:
    """Return what a gate's figures mean.

    Args:
        gate: With the limits that they are held to.
        figures: What the program measured.
        stable: What the same program measured of the stable revision, if it ever did.
    """
    match gate.kind:
        case GateKind.WARMUP:
            return warmup.judge(figures)
        case GateKind.PARITY:
            return parity.judge(figures, gate.limits["minAgreementPercent"])
        case GateKind.LOAD_TEST:
            return load_profile.judge(figures, stable, load_profile.tolerance(gate.limits))


def judged(
    run: GateResult | None, gate: Gate, stable: Mapping[str, float] | None
) -> GateResult | None:
    """Return a run with its figures judged; one that has none yet as it is."""
    if run is None or run.status is not GateStatus.MEASURED:
        return run
    found = judge(gate, run.figures, stable)
    said = "; ".join(part for part in (found.message, run.message) if part)
    return replace(
        found,
        message=said,
        started_at=run.started_at,
        finished_at=run.finished_at,
        lengths=run.lengths,
    )


def seen(
    before: GateResult | None, run: GateResult | None, gate: Gate, now: float
) -> GateResult | None:
    """Join what is remembered with what the world says; a finished result never changes.

    Returns None for a gate that is not begun: never, or by somebody who died and took it along.
    """
    if before is None or before.status in FINISHED:
        return before
    if run is None:
        return _waiting(before)
    started = before.started_at or run.started_at or now
    if run.status is GateStatus.ERROR:
        return _erred(before, started, run.message, now)
    if run.status is GateStatus.PENDING:
        if now >= started + START_LIMIT_S:
            text = f"did not begin within {START_LIMIT_S:g} s{because(run.message)}"
            return _erred(before, started, text, now)
        return replace(before, started_at=started, message=run.message[:MAX_MESSAGE])
    begun = run.started_at or started
    if run.status is GateStatus.RUNNING:
        if now < begun + gate.limit_s:
            return replace(before, status=GateStatus.RUNNING, started_at=begun, message="")
        text = f"took longer than {gate.limit_s:g} s"
        run = GateResult(status=GateStatus.FAILED, message=text)
    return replace(
        run,
        message=run.message[:MAX_MESSAGE],
        started_at=begun,
        finished_at=run.finished_at or now,
        errors=before.errors,
    )


def _waiting(before: GateResult) -> GateResult | None:
    """Return what stays of a run that is gone: that its tries before erred, or nothing."""
    if not before.errors:
        return None
    # Its wait is over, since it had begun: the next look starts it anew.
    return replace(before, status=GateStatus.ERROR, finished_at=0.0)


def _erred(before: GateResult, started: float, message: str, now: float) -> GateResult:
    return GateResult(
        status=GateStatus.ERROR,
        message=message[:MAX_MESSAGE],
        started_at=started,
        finished_at=now,
        errors=before.errors + 1,
    )


def retry_at(result: GateResult) -> float:
    """Return when a gate that erred is tried again, Unix seconds."""
    wait_s = FIRST_RETRY_S * 2.0 ** min(result.errors - 1, 16)
    return (result.finished_at or 0.0) + min(wait_s, LAST_RETRY_S)


def because(message: str) -> str:
    """Return a message as the end of a sentence."""
    return f": {message}" if message else ""
