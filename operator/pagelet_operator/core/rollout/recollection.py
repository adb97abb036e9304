"""What to go by when a rollout's memory, or a part of the world it is about, is lost."""

from dataclasses import replace

from pagelet_operator.core.model import Fleet, Role
from pagelet_operator.core.rollout.commands import Command
from pagelet_operator.core.rollout.state import Answer, RolloutState
from pagelet_operator.core.rollout.trial import end_trial


def forget_lost(state: RolloutState, target: str, fleet: Fleet, now: float) -> RolloutState:
    """Drop what is over, and what nobody can bring back because its template is gone."""
    known = {*fleet.revisions, target}
    kept = tuple(r for r in state.retained if r.until > now and r.revision in known)
    stable = state.stable if state.stable in known else None
    return replace(state, retained=kept, stable=stable)


def adopt(state: RolloutState, target: str, fleet: Fleet) -> RolloutState:
    """Make stable what the world shows as stable, since memory can be lost and users cannot.

    Where nothing is marked as stable, the readiest other revision is, unless the target answers
    itself: what alone answers is never removed.
    """
    marked = [item for item in fleet.revisions.values() if item.role is Role.STABLE]
    if not marked and fleet.ready(target) == 0:
        marked = [item for item in fleet.revisions.values() if item.ready and not item.failure]
    if not marked:
        return state
    found = max(marked, key=lambda item: (item.ready, item.revision)).revision
    kept = tuple(item for item in state.retained if item.revision != found)
    state = replace(state, stable=found, retained=kept)
    return end_trial(state) if state.canary == found else state


def outlive(state: RolloutState, command: Command | None) -> RolloutState:
    """Refuse a command that the memory of it did not outlive: it may have been obeyed before."""
    if command is None or state.stable is None or state.answer is not None:
        return state
    lost = "the rollout's memory was lost since; give the command again"
    return replace(state, answer=Answer(command.token, False, lost))
