"""Asks for the load of a model's replicas and has the scaler decide."""

from collections.abc import Mapping
from dataclasses import replace

from pagelet_operator.core.model import Fleet, Model
from pagelet_operator.core.rollout import RolloutState
from pagelet_operator.core.scaling import ScaleDecision, ScalerState, decide
from pagelet_operator.core.scaling.reading import SPAN_S, ReplicaLoad, reading, streams
from pagelet_operator.core.window import Window
from pagelet_operator.ports import Telemetry, TelemetryError


async def look_at_load(
    telemetry: Telemetry | None,
    model: Model,
    state: RolloutState,
    memory: ScalerState | None,
    fleet: Fleet,
    now: float,
) -> ScaleDecision | None:
    """Return how many replicas a model should have; None where the number is fixed.

    Args:
        telemetry: Where to ask; without it nothing is measured and the number stays.
        model: What is asked for.
        state: What the rollout remembers.
        memory: What the scaler remembers; None for nothing.
        fleet: What the world shows.
        now: Unix seconds.
    """
    policy = model.scaling
    if policy is None:
        return None
    loads, windows = await _told(telemetry, model, fleet, now)
    fresh_since = now - policy.fresh_s
    seen = reading(fleet, state.stable, state.canary, loads, windows, fresh_since=fresh_since)
    decision = decide(memory or ScalerState(), policy, seen, now)
    return replace(decision, streams=streams(loads))


def as_decided(model: Model, decision: ScaleDecision | None) -> Model:
    """Return the model with the replicas that were decided, instead of the least it asks for."""
    return model if decision is None else replace(model, replicas=decision.replicas)


async def _told(
    telemetry: Telemetry | None, model: Model, fleet: Fleet, now: float
) -> tuple[Mapping[str, ReplicaLoad], Mapping[str, Window]]:
    if telemetry is None:
        return {}, {}
    loads = await telemetry.loads(model, fleet)
    try:
        return loads, await telemetry.windows(model, fleet, now - SPAN_S)
    except TelemetryError:
        return loads, {}  # Engines tell of themselves; the rest is not known.
