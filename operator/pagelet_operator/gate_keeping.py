"""Gates in the loop: what runs is looked at, judged, started and removed.

`core.gating` decides; this asks and tells the world. A try is removed only after its result was
read back from memory, so whoever dies between the two finds the one or the other. What is started
and not remembered is adopted by the next look.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pagelet_operator.core.analysis import Verdict
from pagelet_operator.core.gates import FINISHED, GateResult, GateRun, Memory
from pagelet_operator.core.gating import GateDecision, advance, applicable, is_stored
from pagelet_operator.core.model import Fleet, Model
from pagelet_operator.core.retest import is_wanted
from pagelet_operator.core.rollout import Phase, RolloutState, is_complete
from pagelet_operator.gate_reports import keep_reports
from pagelet_operator.ports import GateOrder, Gates, UnavailableError

POLL_S: Final = 2.0
"""Between two looks while a gate runs, seconds: nothing tells when it is over, and a gate takes
ten seconds or more."""

_BEFORE_USERS = frozenset({Phase.STARTING, Phase.GATING})


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLook:
    """What one look at the gates found; None where they are not asked now."""

    verdict: Verdict | None = None
    message: str = ""
    memory: Memory | None = None
    wake_at: float | None = None


NOT_ASKED = GateLook()


async def look_at_gates(
    gates: Gates | None,
    model: Model,
    state: RolloutState,
    fleet: Fleet,
    now: float,
    *,
    needed: int | None = None,
) -> GateLook:
    """Look at a canary's gates: start what is next, remove what is over and remembered.

    Args:
        gates: Where they run; None where they cannot.
        model: What is asked for.
        state: What is remembered, as it was read back.
        fleet: What the world shows.
        now: Unix seconds.
        needed: Replicas that the live traffic needs, if somebody measures it.
    """
    if not model.rollout.gated and not state.gates:
        return NOT_ASKED
    if gates is None:
        text = "this operator runs no gates; leave rollout.gates out, or promote goes on without"
        return GateLook(verdict=Verdict.ERROR, message=text)
    try:
        running = await gates.observe(model.ref)
        if _is_at_the_gates(model, state, fleet) and is_complete(state, model, fleet, needed, now):
            return await _advance(gates, model, state, fleet, running, now)
        for run in sorted(running):
            if is_wanted(run, state.stable, state.performance):
                continue
            # Those of a canary that lost a replica go on: it may be back before they end.
            if run.key.revision != state.canary or state.phase not in _BEFORE_USERS:
                await gates.stop(model.ref, run)
    except UnavailableError as error:
        text = f"gates cannot be run: {error}"
        return GateLook(verdict=Verdict.ERROR, message=text, wake_at=now + POLL_S)
    return NOT_ASKED


def _is_at_the_gates(model: Model, state: RolloutState, fleet: Fleet) -> bool:
    """Return whether the canary has met no user yet, and there are gates to pass."""
    stable, canary = state.stable, state.canary
    return (
        model.rollout.gated
        and canary == model.revision
        and canary in fleet.revisions
        and stable in fleet.revisions
        and state.phase in _BEFORE_USERS
    )


async def _advance(
    gates: Gates,
    model: Model,
    state: RolloutState,
    fleet: Fleet,
    running: Mapping[GateRun, GateResult],
    now: float,
) -> GateLook:
    canary, stable = (fleet.revisions[name or ""] for name in (state.canary, state.stable))
    asked = applicable(model.rollout.gates, canary.template, stable.template)
    found = advance(asked, state.gates, canary.revision, stable.revision, running, now)
    memory = await keep_reports(
        gates,
        model.ref,
        found.memory,
        stored=state.gates,
        running=running,
        stable=stable.revision,
    )
    for run in found.stop:
        if is_stored(run, state.gates) or run.key not in found.memory:
            await gates.stop(model.ref, run)
    if found.start is not None:
        gate = next(g for g in asked if g.key(canary.revision, stable.revision) == found.start.key)
        order = GateOrder(
            ref=model.ref,
            served_name=model.served_name,
            run=found.start,
            gate=gate,
            canary=canary.endpoints[0],
            stable=stable.endpoints[0] if stable.endpoints else None,
        )
        await gates.start(order)
    return GateLook(
        verdict=found.verdict,
        message=found.message,
        memory=memory,
        wake_at=_wake_at(found, now),
    )


def _wake_at(found: GateDecision, now: float) -> float | None:
    alive = any(result.status not in FINISHED for result in found.memory.values())
    times = [at for at in (found.wake_at, now + POLL_S if alive else None) if at is not None]
    return min(times, default=None)
