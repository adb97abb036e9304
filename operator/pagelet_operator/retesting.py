"""Load tests of what serves, in the loop: looked at, told, started and ended.

`core.retest` decides when, `core.gating` what a try means; this asks and tells the world. It runs
after the rollout's own decision and changes nothing of it but the memory of gates.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from pagelet_operator.core.demand import places_of
from pagelet_operator.core.gates import FINISHED, Gate, GateKind, GateResult, GateRun, Memory
from pagelet_operator.core.gating import GateDecision, advance, is_stored
from pagelet_operator.core.lengths import of_windows
from pagelet_operator.core.model import Model
from pagelet_operator.core.performance import UNKNOWN, Performance
from pagelet_operator.core.planning import Outcome
from pagelet_operator.core.quiet_hours import HOUR_S
from pagelet_operator.core.retest import (
    IDLE_S,
    RETESTED,
    Sight,
    after,
    gate_of,
    has_room,
    is_wanted,
    last_test_at,
    plan,
    requests_per_hour,
)
from pagelet_operator.core.revalidation import of_stable
from pagelet_operator.core.rollout import Phase, RolloutState
from pagelet_operator.core.window import Window
from pagelet_operator.gate_keeping import POLL_S
from pagelet_operator.gate_reports import keep_reports
from pagelet_operator.ports import GateOrder, Gates, Telemetry, TelemetryError, UnavailableError

LENGTHS_S: Final = 6 * HOUR_S
"""Over how long users' lengths are counted; sources that remember less tell less."""

WAIT_S: Final = 60.0
"""Between two looks while a test is due and there is no room for it, seconds."""


async def look_again(
    telemetry: Telemetry | None,
    gates: Gates | None,
    model: Model,
    stored: RolloutState,
    outcome: Outcome,
    now: float,
) -> Outcome:
    """Return the outcome with what is known of load tests of the stable revision.

    Args:
        telemetry: What users do; without it a test is due, and never run.
        gates: Where a test runs; None where none can.
        model: What is asked for.
        stored: What was remembered before this look, as it was read back.
        outcome: What the rollout decided.
        now: Unix seconds.
    """
    state = outcome.state
    asked = next((gate for gate in model.rollout.gates if gate.kind is GateKind.LOAD_TEST), None)
    tested = any(key.kind is GateKind.LOAD_TEST for key in state.gates)
    if state.stable is None or not (asked or tested):
        return _with(outcome, replace(state, performance=UNKNOWN))
    gate = asked if gates is not None else None
    seen = await _sight(telemetry, model, stored.performance, outcome, gate, now)
    performance = plan(stored.performance, seen, now)
    outcome = _with(outcome, replace(state, performance=performance), _wake_at(performance, now))
    if gates is not None and gate is not None:
        try:
            outcome = await _carry_out(gates, model, stored, gate, outcome, now)
        except UnavailableError as error:
            said = replace(performance, note=f"the load test cannot be run: {error}")
            outcome = _with(outcome, replace(outcome.state, performance=said), now + POLL_S)
    said = outcome.state.performance
    message = "; ".join(part for part in (said.message, said.note) if part)
    return replace(outcome, validation=replace(seen.validation, message=message))


async def _sight(
    telemetry: Telemetry | None,
    model: Model,
    before: Performance,
    outcome: Outcome,
    gate: Gate | None,
    now: float,
) -> Sight:
    state, fleet = outcome.state, outcome.fleet
    stable = state.stable or ""
    templates = {name: item.template for name, item in fleet.revisions.items()}
    live = of_windows(await _measured(telemetry, model, outcome, now - LENGTHS_S))
    said = before.reason if before.revision == stable else None
    validation = of_stable(state.gates, stable, templates, live, said)
    room = last_hour = None
    concerned = validation.reason in RETESTED
    if concerned:
        recent = await _measured(telemetry, model, outcome, now - IDLE_S)
        room = has_room(recent, fleet.ready(stable), places_of(templates.get(stable, {})))
    if concerned or before.hour_ends_at is None or now >= before.hour_ends_at:
        last_hour = requests_per_hour(await _measured(telemetry, model, outcome, now - HOUR_S))
    return Sight(
        stable=stable,
        validation=validation,
        is_settled=state.canary is None and state.phase in (Phase.STABLE, Phase.FAILED),
        gate=gate,
        room=room,
        last_hour=last_hour,
        live=live,
        last_test_at=last_test_at(state.gates, stable),
    )


async def _measured(
    telemetry: Telemetry | None, model: Model, outcome: Outcome, since: float
) -> Mapping[str, Window]:
    if telemetry is None:
        return {}
    try:
        return await telemetry.windows(model, outcome.fleet, since)
    except TelemetryError:
        return {}  # Without figures no test is run, and the condition says so.


async def _carry_out(
    gates: Gates, model: Model, stored: RolloutState, asked: Gate, outcome: Outcome, now: float
) -> Outcome:
    state, meant = outcome.state, outcome.state.performance
    gate = gate_of(asked, meant)
    match stored.performance.testing, meant.testing:
        case False, True:
            # Started by the next look, which has read back that it is meant.
            key = gate.key(state.stable or "", None)
            fresh = {known: result for known, result in state.gates.items() if known != key}
            return _with(outcome, replace(state, gates=fresh), now)
        case True, False:
            return _with(outcome, replace(state, gates=await _end(gates, model, stored, state)))
        case True, True:
            return await _advance(gates, model, stored, gate, outcome, now)
    return outcome


async def _end(gates: Gates, model: Model, stored: RolloutState, state: RolloutState) -> Memory:
    """End the try that runs; return what stays of the memory of gates."""
    for run in sorted(await gates.observe(model.ref)):
        if is_wanted(run, stored.performance.revision, stored.performance):
            await gates.stop(model.ref, run)
    return {
        key: result
        for key, result in state.gates.items()
        if result.status in FINISHED or key.revision != stored.performance.revision
    }


async def _advance(
    gates: Gates, model: Model, stored: RolloutState, gate: Gate, outcome: Outcome, now: float
) -> Outcome:
    state = outcome.state
    revision = state.stable or ""
    seen = outcome.fleet.revisions.get(revision)
    if seen is None or not seen.endpoints:
        return _with(outcome, state, now + POLL_S)
    running = await _tries(gates, model, revision)
    found = advance([gate], state.gates, revision, None, running, now)
    for run in found.stop:
        if is_stored(run, stored.gates) or run.key not in found.memory:
            await gates.stop(model.ref, run)
    if found.start is not None:
        order = GateOrder(
            ref=model.ref,
            served_name=model.served_name,
            run=found.start,
            gate=gate,
            canary=seen.endpoints[0],
        )
        await gates.start(order)
    result = found.memory.get(gate.key(revision, None))
    memory = await keep_reports(
        gates, model.ref, found.memory, stored=state.gates, running=running, stable=revision
    )
    known = replace(state, gates=memory, performance=after(state.performance, result))
    return _with(outcome, known, _next_look(found, result, now))


async def _tries(gates: Gates, model: Model, revision: str) -> Mapping[GateRun, GateResult]:
    known = await gates.observe(model.ref)
    return {
        run: result
        for run, result in known.items()
        if (run.key.revision, run.key.kind) == (revision, GateKind.LOAD_TEST)
    }


def _next_look(found: GateDecision, result: GateResult | None, now: float) -> float | None:
    if result is not None and result.status in FINISHED:
        return found.wake_at
    return now + POLL_S


def _wake_at(performance: Performance, now: float) -> float | None:
    if performance.due_at is None:
        return None
    return performance.due_at if performance.due_at > now else now + WAIT_S


def _with(outcome: Outcome, state: RolloutState, wake_at: float | None = None) -> Outcome:
    times = [at for at in (outcome.decision.wake_at, wake_at) if at is not None]
    decision = replace(outcome.decision, state=state, wake_at=min(times, default=None))
    return replace(outcome, decision=decision)
