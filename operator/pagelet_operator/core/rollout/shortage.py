"""What keeps a canary's replicas from starting, in words for people."""

from pagelet_operator.core.model import Capacity, Strategy
from pagelet_operator.core.rollout.look import Look
from pagelet_operator.core.rollout.state import RolloutState


def obstacle(state: RolloutState, look: Look) -> str:
    """Return what keeps the canary's replicas from being there, as the end of a sentence."""
    found = look.canary(state)
    why = [text for text in (found.short, found.blocked) if text] if found is not None else []
    if lacks_room(state, look):
        why.append(_not_lent(look))
    return f": {'; '.join(why)}" if why else ""


def lacks_room(state: RolloutState, look: Look) -> bool:
    """Return whether the canary waits for room that nobody can make now."""
    if state.stable is None or look.policy.strategy is Strategy.RECREATE:
        return False
    found = look.canary(state)
    short = found is not None and found.short is not None
    return look.room(state).canary == 0 or (short and state.capacity is None)


def _not_lent(look: Look) -> str:
    """Return why no replica of the stable revision makes room."""
    asked, needed = look.policy.capacity, look.seen.needed
    if asked is Capacity.SURGE:
        return "capacity is Surge, so no replica of the stable revision makes room"
    if needed is None and asked is Capacity.AUTO:
        return "how many replicas the live traffic needs is not known, so none is lent"
    return f"live traffic needs {min(needed or 1, look.replicas)} of {look.replicas} that serve"
