"""Status as the API server stores it: written from an outcome, read back as memory."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from pagelet_operator.api import memory, performance
from pagelet_operator.api.memory import rfc3339, unix
from pagelet_operator.api.scaling_status import scaling_status
from pagelet_operator.api.status import (
    Condition,
    FiguresStatus,
    ModelDeploymentStatus,
    RevisionFigures,
    RevisionStatus,
)
from pagelet_operator.api.traffic_status import TrafficStatus
from pagelet_operator.core import conditions as core
from pagelet_operator.core.figures import REFRESH_S, figures
from pagelet_operator.core.model import Model
from pagelet_operator.core.planning import Outcome
from pagelet_operator.core.rollout import RolloutState
from pagelet_operator.core.scaling.state import SHAPE

CAPS = ("maxPromptTokens", "maxOutputTokens")
"""Fields of `spec.limits` without which one request may take a whole replica."""


def state_from_status(status: Mapping[str, Any] | None) -> RolloutState:
    """Return what the operator remembers; a fresh state where nothing usable is stored.

    Without memory the rollout adopts what the world shows as stable.
    """
    stored = status or {}
    found = memory.state(stored.get("rollout"))
    return replace(found, performance=performance.read(stored.get("performance")))


def conditions_from_status(status: Mapping[str, Any] | None) -> tuple[core.Condition, ...]:
    """Return the stored conditions that are ours; none where nothing usable is stored."""
    read = (memory.part(Condition, item) for item in _stored_conditions(status))
    return tuple(
        core.Condition(
            type=item.type,
            status=item.status,
            reason=item.reason,
            message=item.message,
            observed_generation=item.observed_generation or 0,
            last_transition_time=unix(item.last_transition_time) or 0.0,
        )
        for item in read
        if item is not None and item.type in core.TYPES
    )


def status(
    model: Model,
    outcome: Outcome,
    *,
    before: Mapping[str, Any] | None,
    endpoint: str | None,
    selector: str | None,
    gateway_key: tuple[str, str] | None = None,
    now: float,
) -> dict[str, Any]:
    """Return the whole status after a reconcile, as JSON.

    Args:
        model: What was asked for.
        outcome: What was decided.
        before: The status as it was read.
        endpoint: Where clients send requests, once there is a stable revision.
        selector: Label selector of the model's pods.
        gateway_key: Name and key of the Secret that gateways and engines share.
        now: Unix seconds.
    """
    state = outcome.state
    scaling = scaling_status(outcome.scaling, (before or {}).get("scaling"), now)
    conditions = core.conditions(
        outcome,
        model.generation,
        conditions_from_status(before),
        now,
        missing=model.traffic.missing,
        validation=outcome.validation,
        uncapped=[name for name in CAPS if name not in model.traffic.entry.get("limits", {})],
        misshapen=scaling.message if scaling and scaling.reason == SHAPE else None,
    )
    said = _dump(
        ModelDeploymentStatus(
            observed_generation=model.generation,
            conditions=_wire(conditions),
            stable=_revision(state.stable, outcome),
            canary=_revision(state.canary, outcome),
            traffic=TrafficStatus.model_validate(_traffic(outcome, gateway_key)),
            rollout=memory.rollout_status(state),
            figures=_figures(outcome, before, now),
            scaling=scaling,
            performance=performance.wire(state.performance),
            endpoint=endpoint if state.stable else None,
            selector=selector,
            replicas=sum(item.replicas for item in outcome.plan.revisions),
            ready_replicas=sum(item.ready for item in outcome.fleet.revisions.values()),
        )
    )
    return said | {"conditions": [*said["conditions"], *_foreign(before)]}


def rejected_status(
    sentence: str, generation: int, before: Mapping[str, Any] | None, now: float
) -> dict[str, Any]:
    """Return `before` with conditions that say why the resource was refused."""
    conditions = core.rejected(sentence, generation, conditions_from_status(before), now)
    said = _dump(
        ModelDeploymentStatus(observed_generation=generation, conditions=_wire(conditions))
    )
    return {
        **said,
        **(before or {}),
        "observedGeneration": generation,
        "conditions": [*said["conditions"], *_foreign(before)],
    }


def figures_due(stored: Mapping[str, Any] | None, now: float) -> bool:
    """Return whether the stored figures are old enough to be looked at anew."""
    found = memory.part(FiguresStatus, (stored or {}).get("figures"))
    measured_at = None if found is None else unix(found.measured_at)
    return measured_at is None or now >= measured_at + REFRESH_S


def _figures(
    outcome: Outcome, before: Mapping[str, Any] | None, now: float
) -> FiguresStatus | None:
    """Return what was just measured; else what was stored, of revisions that still exist."""
    if outcome.windows:
        measured = [RevisionFigures(**asdict(item)) for item in figures(outcome.windows)]
        measured_at = rfc3339(now)
    else:
        stored = memory.part(FiguresStatus, (before or {}).get("figures"))
        if stored is None:
            return None
        measured = [item for item in (stored.stable, stored.canary) if item is not None]
        measured_at = stored.measured_at
    found = {item.revision: item for item in measured}
    stable, canary = (
        found.get(name or "") for name in (outcome.state.stable, outcome.state.canary)
    )
    return FiguresStatus(measured_at=measured_at, stable=stable, canary=canary)


def _traffic(outcome: Outcome, gateway_key: tuple[str, str] | None) -> dict[str, Any]:
    # How the rollout stands is `status.rollout`, where gateways find it, too.
    entry = {key: value for key, value in outcome.plan.traffic.items() if key != "rollout"}
    if gateway_key is not None:
        entry["gatewayKeySecretRef"] = {"name": gateway_key[0], "key": gateway_key[1]}
    return entry


def _stored_conditions(stored: Mapping[str, Any] | None) -> list[Any]:
    found = (stored or {}).get("conditions")
    return found if isinstance(found, list) else []


def _foreign(stored: Mapping[str, Any] | None) -> list[Any]:
    """Return the conditions of other controllers as they are: not ours to change."""
    return [
        item
        for item in _stored_conditions(stored)
        if isinstance(item, Mapping) and item.get("type") not in core.TYPES
    ]


def _wire(items: Sequence[core.Condition]) -> list[Condition]:
    return [
        Condition.model_validate(
            {
                "type": item.type,
                "status": item.status,
                "reason": item.reason,
                "message": item.message,
                "observedGeneration": item.observed_generation,
                "lastTransitionTime": rfc3339(item.last_transition_time),
            }
        )
        for item in items
    ]


def _revision(revision: str | None, outcome: Outcome) -> RevisionStatus | None:
    planned = next((r for r in outcome.plan.revisions if r.revision == revision), None)
    if planned is None:
        return None
    return RevisionStatus(
        revision=planned.revision,
        weight=planned.weight,
        replicas=planned.replicas,
        ready_replicas=outcome.fleet.ready(revision),
    )


def _dump(model: ModelDeploymentStatus) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)
