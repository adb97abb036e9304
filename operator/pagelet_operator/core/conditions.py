"""Conditions: what holds of a resource now, since when, and why, in the API's own words.

`Ready` sums up: users get answers. `Progressing`: a revision is on its way. `Stalled`: it
will not get further without a change of the spec; kstatus and `helm --wait` read it.
`Applied`: no write was refused or failed. `PerformanceValidated`: a load test speaks for what
serves; left out where none was run or is asked for. `TrafficShaped`: one request cannot take what
is meant for many.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pagelet_operator.core.planning import Outcome
from pagelet_operator.core.revalidation import Validation
from pagelet_operator.core.rollout import Phase

TYPES = frozenset(
    {
        "Accepted", "Applied", "Ready", "Progressing", "Stalled", "PerformanceValidated",
        "TrafficShaped",
    }
)  # fmt: skip
"""Every type said here; conditions of other types belong to somebody else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition by the Kubernetes API conventions; times are Unix seconds."""

    type: str
    status: str
    """True, False or Unknown."""
    reason: str
    message: str
    observed_generation: int
    last_transition_time: float


def conditions(
    outcome: Outcome,
    generation: int,
    before: Sequence[Condition],
    now: float,
    *,
    missing: Sequence[str] = (),
    validation: Validation | None = None,
    uncapped: Sequence[str] = (),
    misshapen: str | None = None,
) -> tuple[Condition, ...]:
    """Return all conditions of an accepted resource after a reconcile.

    Args:
        outcome: What was decided.
        generation: The generation it was decided on.
        before: The conditions as they were.
        now: Unix seconds.
        missing: ModelDeployments that `spec.fallback` names and that do not exist.
        validation: Whether a load test speaks for what serves; None where nobody asks.
        uncapped: Caps of one request that the spec does not set.
        misshapen: Why the requests' form, and not their number, makes them slow; None if not.
    """
    new = (
        _accepted(missing),
        _applied(outcome),
        _ready(outcome),
        _progressing(outcome, now),
        _stalled(outcome, now),
        *_validated(validation),
        _shaped(uncapped, misshapen),
    )
    return merge(new, generation, before, now)


def rejected(
    sentence: str, generation: int, before: Sequence[Condition], now: float
) -> tuple[Condition, ...]:
    """Return the conditions of a resource that was refused; what serves keeps serving."""
    kept = [item for item in before if item.type not in ("Accepted", "Stalled")]
    new = (
        ("Accepted", "False", "Invalid", sentence),
        ("Stalled", "True", "Invalid", sentence),
    )
    return (*merge(new, generation, before, now), *kept)


def merge(
    new: Sequence[tuple[str, str, str, str]],
    generation: int,
    before: Sequence[Condition],
    now: float,
) -> tuple[Condition, ...]:
    """Return `new` as conditions; the transition time moves only when the status does."""
    old = {item.type: item for item in before}
    merged = []
    for kind, status, reason, message in new:
        condition = Condition(
            type=kind,
            status=status,
            reason=reason,
            message=message,
            observed_generation=generation,
            last_transition_time=now,
        )
        previous = old.get(kind)
        if previous is not None and previous.status == status:
            condition = replace(condition, last_transition_time=previous.last_transition_time)
        merged.append(condition)
    return tuple(merged)


def without(missing: Sequence[str]) -> str:
    """Say that fallbacks which do not exist are left out."""
    return (
        f"spec.fallback names {', '.join(missing)}, no ModelDeployment of this namespace; it is "
        f"left out until it exists"
    )


def _accepted(missing: Sequence[str]) -> tuple[str, str, str, str]:
    if missing:
        return "Accepted", "True", "FallbackMissing", without(missing)
    return "Accepted", "True", "Valid", "the resource can work as written"


def _applied(outcome: Outcome) -> tuple[str, str, str, str]:
    if outcome.trouble is None:
        return "Applied", "True", "AsPlanned", "every object is as planned"
    return "Applied", "False", "WriteFailed", outcome.trouble


def _validated(validation: Validation | None) -> tuple[tuple[str, str, str, str], ...]:
    if validation is None:
        return ()
    status = "True" if validation.holds else "False"
    return (("PerformanceValidated", status, validation.reason.value, validation.message),)


def _shaped(uncapped: Sequence[str], misshapen: str | None) -> tuple[str, str, str, str]:
    if misshapen is not None:
        return "TrafficShaped", "False", "RequestShape", misshapen
    if uncapped:
        fields = " and ".join(f"limits.{name}" for name in uncapped)
        why = "one request may take a whole replica, and more replicas would only hide that"
        return "TrafficShaped", "False", "CapsMissing", f"set {fields}: {why}"
    return "TrafficShaped", "True", "Capped", "prompt and output of one request are capped"


def _ready(outcome: Outcome) -> tuple[str, str, str, str]:
    stable = outcome.state.stable
    ready = outcome.fleet.ready(stable)
    if stable is None:
        return "Ready", "False", "NothingServes", outcome.state.message
    if ready == 0:
        return "Ready", "False", "NoReplicaReady", f"{stable} has no ready replica"
    return "Ready", "True", "Serving", f"{stable} serves with {ready} ready"


def _progressing(outcome: Outcome, now: float) -> tuple[str, str, str, str]:
    state = outcome.state
    over = state.phase in (Phase.STABLE, Phase.FAILED) or state.is_overdue(now)
    # A pause is no progress: whoever waits for the rollout has to hear that a person is needed.
    status = "False" if over or outcome.state.paused is not None else "True"
    return "Progressing", status, outcome.decision.reason, outcome.state.message


def _stalled(outcome: Outcome, now: float) -> tuple[str, str, str, str]:
    failed = outcome.state.phase is Phase.FAILED
    if not failed and outcome.state.is_overdue(now):
        return "Stalled", "True", "StableNotReady", outcome.state.message
    if not failed:
        return "Stalled", "False", "NotStalled", ""
    reason = outcome.decision.reason
    return "Stalled", "True", reason, outcome.state.message
