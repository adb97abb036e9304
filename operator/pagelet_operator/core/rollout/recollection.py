"""What to go by when a rollout's memory, or a part of the world it is about, is lost.

The world outlives the memory: replicas carry roles, and what had its replicas taken away is still
known. So losing memory starts a trial anew and never ends one: who was stable stays it, even
without a replica, and a canary that answers in its place keeps all traffic while it is tried. So
does one that was dropped and answers alone, until stable does.
"""

from dataclasses import replace

from pagelet_operator.core.model import Capacity, Fleet, RevisionFleet, Role, Strategy
from pagelet_operator.core.rollout.commands import Command, CommandKind
from pagelet_operator.core.rollout.look import Look
from pagelet_operator.core.rollout.state import DRAIN_S, Answer, Phase, Retained, RolloutState
from pagelet_operator.core.rollout.trial import end_trial


def forget_lost(state: RolloutState, target: str, fleet: Fleet, now: float) -> RolloutState:
    """Drop what is over, and what nobody can bring back because its template is gone."""
    known = {*fleet.revisions, target}
    kept = tuple(
        item
        for item in state.retained
        if item.revision in known and (item.weight or item.until > now)
    )
    stable = state.stable if state.stable in known else None
    return replace(state, retained=kept, stable=stable)


def adopt(state: RolloutState, look: Look) -> RolloutState:
    """Make stable what the world shows as stable, since memory can be lost and users cannot.

    Where nothing does, nothing changes: a target that answers alone becomes the first revision.
    """
    found = _stable(state, look)
    if found is None:
        return state
    kept = tuple(item for item in state.retained if item.revision != found.revision)
    state = replace(state, stable=found.revision, retained=kept)
    if state.canary == found.revision:
        return end_trial(state)
    state = _left_alone(state, found, look)
    return _still_answering(state, found, look)


def _stable(state: RolloutState, look: Look) -> RevisionFleet | None:
    """Return what is marked as stable; else what seems to be, unless the target answers itself."""
    target, fleet = look.model.revision, look.fleet
    found = [item for item in fleet.revisions.values() if item.role is Role.STABLE]
    if not found and fleet.ready(target) == 0:
        found = [item for item in fleet.revisions.values() if item.ready and not item.failure]
    elif not found and state.canary is None and fleet.revisions[target].role is Role.CANARY:
        # A canary that is known as one had a stable: what lost its own mark, and is not retired.
        found = [item for item in fleet.revisions.values() if item.role is None]
    return max(found, key=lambda item: (item.ready, item.revision), default=None)


def _left_alone(state: RolloutState, stable: RevisionFleet, look: Look) -> RolloutState:
    """Try a canary that answers in stable's place from the first step, with all the traffic.

    Where stable's replicas were taken away it had all traffic, and users come before gates: to whom
    else could they go? Where they are only not ready it gives traffic back as they become so, and
    what may not have passed its gates gets none.
    """
    target, lent = look.fleet.revisions.get(look.model.revision), stable.replicas == 0
    if target is None or target.failure or not target.ready or state.canary is not None:
        return state
    if stable.ready or (look.policy.gated and not lent):
        return state
    lends = lent and look.policy.strategy is Strategy.CANARY
    return replace(
        state,
        phase=Phase.PROGRESSING,
        canary=target.revision,
        step=0,
        step_started_at=look.now,
        weight=100,
        capacity=Capacity.IN_PLACE if lends else None,
        message=f"{target.revision} answers in the place of {stable.revision} and is tried anew",
    )


def _still_answering(state: RolloutState, stable: RevisionFleet, look: Look) -> RolloutState:
    """Let what was retired keep all traffic while nobody else answers: it may have been on its way
    back. Where there are gates nobody knows any more whether it passed them, so it gets nothing.
    """
    if stable.ready or state.canary is not None or look.policy.gated:
        return state
    apart = (stable.revision, look.model.revision)
    found = [
        item
        for item in look.fleet.revisions.values()
        if item.role is Role.RETIRED and item.ready and not item.failure
        if item.revision not in apart
    ]
    if not found:
        return state
    last = max(found, key=lambda item: (item.ready, item.revision))
    surge = look.policy.capacity is Capacity.SURGE or look.policy.strategy is not Strategy.CANARY
    kept = Retained(
        last.revision,
        look.now + max(look.policy.progress_deadline_s, DRAIN_S),
        weight=100,
        capacity=None if surge else Capacity.IN_PLACE,
    )
    others = tuple(item for item in state.retained if item.revision != last.revision)
    return replace(state, retained=(*others, kept))


_REPEATABLE = frozenset({CommandKind.PAUSE, CommandKind.ABORT})
"""Commands that give a canary nothing: obeyed again, they can at worst be too careful."""


def outlive(state: RolloutState, command: Command | None) -> RolloutState:
    """Refuse a command that the memory of it did not outlive: it may have been obeyed before.

    A pause and an abort of this very canary still say what their giver wants, and are obeyed.
    """
    if command is None or state.stable is None or state.answer is not None:
        return state
    named = command.revision is not None or command.kind is CommandKind.PAUSE
    if command.kind in _REPEATABLE and named:
        return state
    lost = "the rollout's memory was lost since; give the command again"
    return replace(state, answer=Answer(command.token, False, lost))
