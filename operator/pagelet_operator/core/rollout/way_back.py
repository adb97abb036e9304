"""The way back: a canary that was dropped answers what stable has no ready replica for.

Where stable lent its replicas, or lost them, it cannot take all traffic in the same look. So the
canary keeps a share that falls as stable's replicas become ready, whyever it was dropped: slow
answers or some errors are better than none at all. Bounded by readiness alone, so a stable that
never comes back leaves the traffic where it is answered, and after the progress deadline says so.
"""

from dataclasses import replace

from pagelet_operator.core import capacity
from pagelet_operator.core.model import Strategy
from pagelet_operator.core.rollout.look import Look
from pagelet_operator.core.rollout.state import DRAIN_S, ON_TRIAL, Retained, RolloutState


def give_back(state: RolloutState, look: Look) -> RolloutState:
    """Take from dropped canaries what stable's ready replicas can carry; no share ever rises."""
    if state.stable is None or not state.carriers:
        return state
    left = 100 - ((state.weight or 0) if state.phase in ON_TRIAL else 0)
    retained = []
    for item in state.retained:
        given = _lighter(item, state.stable, left, look) if item.weight else item
        left -= given.weight
        retained.append(given)
    return replace(state, retained=tuple(retained))


def _lighter(item: Retained, stable: str, left: int, look: Look) -> Retained:
    """Return what a dropped canary keeps of its share, and until when, if it keeps nothing."""
    weight = min(item.weight, left, _untaken(item, stable, look))
    if look.policy.strategy is Strategy.RECREATE or look.fleet.ready(item.revision) == 0:
        weight = 0
    if weight:
        return replace(item, weight=weight)
    return replace(item, weight=0, capacity=None, until=look.now + DRAIN_S)


def _untaken(item: Retained, stable: str, look: Look) -> int:
    """Return the share, percent, that stable's ready replicas cannot carry."""
    ready, demanded = look.fleet.ready(stable), _demand(item, look)
    if ready:
        return 100 - capacity.taken_back(ready, demanded)
    found = look.fleet.revisions.get(stable)
    lacks_room = found is not None and found.short is not None
    # It waits for this very room, which it left when no request needed it; so it may come back.
    return 0 if lacks_room and demanded == 0 else 100


def _demand(item: Retained, look: Look) -> int:
    """Return the replicas that the live traffic needs, as far as that is known."""
    if item.capacity is not None:
        return capacity.demand(item.capacity, look.replicas, look.seen.needed)
    # Stable lent nothing: unless it is known that more are needed, one that answers is enough.
    needed = 1 if look.seen.needed is None else look.seen.needed
    return max(1, min(needed, look.replicas))


def carrying_replicas(state: RolloutState, look: Look) -> dict[str, int]:
    """Return how many replicas dropped canaries keep in the place of stable's, by revision.

    No more than they have: the others make room for stable's.
    """
    counts = {}
    for item in state.carriers:
        found = look.fleet.revisions.get(item.revision)
        if item.capacity is not None and found is not None:
            keeps = capacity.carriers(item.weight, _demand(item, look))
            counts[item.revision] = min(found.replicas, keeps)
    return counts


def keeps(state: RolloutState, look: Look) -> str:
    """Return who answers for a stable that is not ready, for people; empty if nobody does."""
    if not state.carriers:
        return ""
    who = " and ".join(f"{item.revision} keeps {item.weight} %" for item in state.carriers)
    found = look.fleet.revisions.get(state.stable or "")
    why = [text for text in (found.failure, found.short, found.blocked) if text] if found else []
    text = f"{who} until more of {state.stable}'s replicas are ready"
    return f"{text} ({look.fleet.ready(state.stable)} are{': ' if why else ''}{'; '.join(why)})"
