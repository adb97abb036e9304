"""Status as the API server stores it: written from an outcome, read back as memory."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pagelet_operator.api.status import (
    Condition,
    ModelDeploymentStatus,
    RetainedStatus,
    RevisionStatus,
    RolloutStatus,
)
from pagelet_operator.api.traffic_status import TrafficStatus
from pagelet_operator.core import conditions as core
from pagelet_operator.core.model import Model
from pagelet_operator.core.planning import Outcome
from pagelet_operator.core.rollout import Phase, Retained, RolloutState

Part = TypeVar("Part", bound=BaseModel)


def state_from_status(status: Mapping[str, Any] | None) -> RolloutState:
    """Return what the operator remembers; a fresh state where nothing usable is stored.

    Without memory the rollout adopts what the world shows as stable.
    """
    rollout = _part(RolloutStatus, (status or {}).get("rollout"))
    if rollout is None:
        return RolloutState()
    return RolloutState(
        phase=Phase(rollout.phase),
        stable=rollout.stable,
        canary=rollout.canary,
        failed=rollout.failed,
        step=rollout.step,
        step_started_at=_unix(rollout.step_started_at) or 0.0,
        unready_since=_unix(rollout.unready_since),
        retained=tuple(
            Retained(item.revision, _unix(item.until) or 0.0) for item in rollout.retained
        ),
        message=rollout.message,
    )


def conditions_from_status(status: Mapping[str, Any] | None) -> tuple[core.Condition, ...]:
    """Return the stored conditions that are ours; none where nothing usable is stored."""
    read = (_part(Condition, item) for item in _stored_conditions(status))
    return tuple(
        core.Condition(
            type=item.type,
            status=item.status,
            reason=item.reason,
            message=item.message,
            observed_generation=item.observed_generation or 0,
            last_transition_time=_unix(item.last_transition_time) or 0.0,
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
    conditions = core.conditions(
        outcome,
        model.generation,
        conditions_from_status(before),
        now,
        missing=model.traffic.missing,
    )
    said = _dump(
        ModelDeploymentStatus(
            observed_generation=model.generation,
            conditions=_wire(conditions),
            stable=_revision(state.stable, outcome),
            canary=_revision(state.canary, outcome),
            traffic=TrafficStatus.model_validate(_traffic(outcome, gateway_key)),
            rollout=_rollout(state),
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


def _traffic(outcome: Outcome, gateway_key: tuple[str, str] | None) -> dict[str, Any]:
    entry = dict(outcome.plan.traffic)
    if gateway_key is not None:
        entry["gatewayKeySecretRef"] = {"name": gateway_key[0], "key": gateway_key[1]}
    return entry


def _part(kind: type[Part], stored: object) -> Part | None:
    """Return one part of a status; None if another version, or a hand, wrote it otherwise."""
    try:
        return kind.model_validate(stored)
    except ValidationError:
        return None


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


def rfc3339(unix_s: float) -> str:
    """Return a Unix time as Kubernetes writes it, in whole seconds UTC."""
    return datetime.fromtimestamp(int(unix_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _precise(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")


def _unix(time: str | None) -> float | None:
    # Whole milliseconds, so that writing and reading any number of times changes nothing.
    return None if time is None else round(datetime.fromisoformat(time).timestamp(), 3)


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


def _rollout(state: RolloutState) -> RolloutStatus:
    return RolloutStatus(
        phase=state.phase.value,
        stable=state.stable,
        canary=state.canary,
        failed=state.failed,
        step=state.step,
        step_started_at=_precise(state.step_started_at) if state.step_started_at else None,
        unready_since=None if state.unready_since is None else _precise(state.unready_since),
        retained=[
            RetainedStatus(revision=r.revision, until=_precise(r.until)) for r in state.retained
        ],
        message=state.message,
    )


def _dump(model: ModelDeploymentStatus) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)
