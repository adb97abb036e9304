"""What a decision is told beside the replicas: how users fare, gates, a person's command.

Asked anew at every look. What does not answer says so in the verdict, and never stops a look:
readiness, deadlines and commands count without figures, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pagelet_operator.core.analysis import Baseline, Judgement, judge, unmeasured
from pagelet_operator.core.calm import SPAN_S as CALM_SPAN_S
from pagelet_operator.core.calm import calm
from pagelet_operator.core.demand import SPAN_S, needed_replicas, places_of
from pagelet_operator.core.gates import GateKind
from pagelet_operator.core.gating import latest
from pagelet_operator.core.model import Capacity, Fleet, Model
from pagelet_operator.core.rollout import Command, Observations, RolloutState, look_at
from pagelet_operator.core.window import Profile, Window
from pagelet_operator.gate_keeping import look_at_gates
from pagelet_operator.ports import Gates, Telemetry, TelemetryError

BEFORE_S = 1800.0
"""How far before a canary got all traffic at once its baseline reaches, seconds: nobody else
answers since. Long enough for an idle model's requests, and for old replicas that ended first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Senses:
    """Where to ask; what is None is not there."""

    telemetry: Telemetry | None = None
    gates: Gates | None = None


NO_SENSES = Senses()
"""Sees replicas only."""


async def sense(
    senses: Senses,
    model: Model,
    state: RolloutState,
    fleet: Fleet,
    now: float,
    *,
    command: Command | None = None,
) -> Observations:
    """Return what there is to know about a model at this moment.

    Figures are judged when `core.rollout.look_at` says that they are due.

    Args:
        senses: Where to ask.
        model: What is asked for.
        state: What is remembered.
        fleet: What the world shows.
        now: Unix seconds.
        command: The last command that was given.
    """
    due = look_at(state, model.rollout)
    measured = senses.telemetry is not None
    needed = await _needed(senses, model, state, fleet, now)
    gates = await look_at_gates(senses.gates, model, state, fleet, now, needed=needed)
    seen = Observations(
        needed=needed,
        canary=state.canary,
        measured=measured,
        command=command,
        gates=gates.verdict,
        gates_message=gates.message,
        gates_memory=gates.memory,
        gates_wake_at=gates.wake_at,
    )
    if senses.telemetry is None or due is None or now < due:
        return seen
    judgement = await _judgement(senses.telemetry, model, state, fleet, now)
    return replace(seen, judgement=judgement, judged_at=now)


def stored_profile(state: RolloutState) -> Profile | None:
    """Return the figures that stable had in its own load test, for `baseline: Fixed`."""
    found = latest(state.gates, state.stable or "", GateKind.LOAD_TEST)
    return None if found is None else Profile(found.figures)


async def _needed(
    senses: Senses, model: Model, state: RolloutState, fleet: Fleet, now: float
) -> int | None:
    """Return the replicas that the live traffic needs, where it matters: a canary may borrow."""
    stable, canary = (fleet.revisions.get(name or "") for name in (state.stable, state.canary))
    borrows = model.rollout.capacity in (Capacity.BORROW, Capacity.IN_PLACE)
    short = canary is not None and canary.short is not None
    if stable is None or not (borrows or short or state.capacity is not None):
        return None
    windows = await measure(senses, model, fleet, now - SPAN_S)
    return needed_replicas(windows.values(), places_of(stable.template), model.replicas)


async def measure(senses: Senses, model: Model, fleet: Fleet, since: float) -> Mapping[str, Window]:
    """Return what was measured of each revision since then; nothing where nobody can say."""
    if senses.telemetry is None:
        return {}
    try:
        return await senses.telemetry.windows(model, fleet, since)
    except TelemetryError:
        return {}  # Judgements say why; figures are only shown.


async def _judgement(
    telemetry: Telemetry, model: Model, state: RolloutState, fleet: Fleet, now: float
) -> Judgement:
    policy = model.rollout.analysis
    assert policy is not None, "look_at has no due time without an analysis"
    stable, began = state.stable or "", state.step_started_at
    try:
        windows = await telemetry.windows(model, fleet, began)
        canary = windows.get(state.canary or "")
        if policy.baseline is Baseline.FIXED:
            return judge(policy, canary, stored_profile(state))
        if state.weight == 100:
            before = await telemetry.windows(model, fleet, began - BEFORE_S)
            return judge(policy, canary, before.get(stable))
        baseline = windows.get(stable)
        pieces = await telemetry.pieces(model, fleet, stable, now - CALM_SPAN_S)
    except TelemetryError as error:
        return unmeasured(str(error))
    each = fleet.ready(stable) / max(1, fleet.ready(state.canary))
    return judge(policy, canary, baseline, calm(pieces, baseline, canary, each))
