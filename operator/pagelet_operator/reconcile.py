"""One turn of the control loop: observe, decide, apply."""

from dataclasses import replace

from pagelet_operator.core.model import Model
from pagelet_operator.core.planning import Outcome, decide
from pagelet_operator.core.rollout import Command, RolloutState
from pagelet_operator.core.scaling import ScalerState
from pagelet_operator.ports import IncompleteError, Runtime
from pagelet_operator.retesting import look_again
from pagelet_operator.scaling import as_decided, look_at_load
from pagelet_operator.senses import NO_SENSES, Senses, measure, sense


async def reconcile(
    model: Model,
    state: RolloutState,
    *,
    runtime: Runtime,
    now: float,
    senses: Senses = NO_SENSES,
    command: Command | None = None,
    figures_since: float | None = None,
    scaling: ScalerState | None = None,
) -> Outcome:
    """Take one step towards what `model` asks for.

    Safe to repeat: `decide` is pure and the plan is level-triggered, so a crash between
    `apply` and the caller's persisting of `Outcome.state` only repeats work. Where a part of
    the plan cannot be carried out, `Outcome.trouble` says why.

    Args:
        model: What is asked for.
        state: What is remembered.
        runtime: Where replicas and traffic are.
        now: Unix seconds.
        senses: What else is looked at.
        command: The last command that a person gave; one that was answered does nothing.
        figures_since: Since when to measure for reports (Unix seconds); None for not at all.
        scaling: What the scaler remembers (`Outcome.scaling`); None for nothing.

    Raises:
        UnavailableError: The runtime did not answer. Call again later.
    """
    fleet = await runtime.observe(model.ref)
    scaled = await look_at_load(senses.telemetry, model, state, scaling, fleet, now)
    model = as_decided(model, scaled)
    seen = await sense(senses, model, state, fleet, now, command=command)
    outcome = decide(model, state, fleet, now, seen, scaled)
    outcome = await look_again(senses.telemetry, senses.gates, model, state, outcome, now)
    if figures_since is not None:
        windows = await measure(senses, model, fleet, figures_since)
        outcome = replace(outcome, windows=windows)
    try:
        await runtime.apply(model, outcome.plan)
    except IncompleteError as error:
        # What was decided still holds, and time counts: it must be said and remembered.
        return replace(outcome, trouble=str(error))
    return outcome
