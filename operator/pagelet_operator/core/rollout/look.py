"""One look at a rollout: everything it is decided on, and what follows from it by arithmetic."""

from dataclasses import dataclass, replace

from pagelet_operator.core import capacity
from pagelet_operator.core.analysis import AnalysisPolicy
from pagelet_operator.core.capacity import Room
from pagelet_operator.core.model import (
    Capacity,
    Fleet,
    Model,
    RevisionFleet,
    RolloutPolicy,
    Step,
    Strategy,
)
from pagelet_operator.core.rollout.observations import Observations
from pagelet_operator.core.rollout.state import DRAIN_S, ON_TRIAL, Phase, RolloutState

_ALL_AT_ONCE = Step(100, 0.0)


@dataclass(frozen=True, slots=True)
class Look:
    """What is known at one moment. The same for every decision that is made of it."""

    model: Model
    fleet: Fleet
    seen: Observations
    now: float

    @property
    def policy(self) -> RolloutPolicy:
        """How the new revision takes over."""
        return self.model.rollout

    @property
    def analysis(self) -> AnalysisPolicy | None:
        """How the canary is judged; None where only time counts."""
        return analysis_of(self.policy) if self.seen.measured else None

    @property
    def replicas(self) -> int:
        """Replicas a revision has in full."""
        return max(1, self.model.replicas)

    def canary(self, state: RolloutState) -> RevisionFleet | None:
        """Return what the world shows of the canary, if anything."""
        return self.fleet.revisions.get(state.canary or "")

    def have(self, state: RolloutState) -> int:
        """Return the canary's ready replicas."""
        return self.fleet.ready(state.canary)

    def clock(self, state: RolloutState) -> float:
        """Return the time that holds and deadlines go by: it stands still in a pause."""
        return self.now if state.paused is None else state.paused.since

    def steps(self, state: RolloutState) -> tuple[Step, ...]:
        """Return the steps the canary takes; a single one where all traffic moves at once."""
        if self.policy.strategy is not Strategy.CANARY:
            return (_ALL_AT_ONCE,)
        steps = self.policy.steps
        if _mode(state) is Capacity.IN_PLACE and self.replicas == 1:
            return (Step(100, steps[0].hold_s, any(step.approval for step in steps)),)
        return steps

    def step(self, state: RolloutState) -> Step:
        """Return the current step."""
        steps = self.steps(state)
        # The policy may have fewer steps now than when this one began.
        return steps[min(state.step, len(steps) - 1)]

    def want(self, state: RolloutState) -> int:
        """Return the share the canary should get next, percent."""
        return 100 if state.phase is Phase.PROMOTING else self.step(state).weight

    def demand(self, state: RolloutState) -> int:
        """Return the replicas that all traffic together has to have."""
        mode = _mode(state)
        given_up = state.stable is not None and self.fleet.ready(state.stable) == 0
        if mode is Capacity.IN_PLACE and self.replicas == 1 and given_up:
            # Its only replica has ended; bringing it back would take as long as the canary does.
            return 0
        return capacity.demand(mode, self.replicas, self.seen.needed)

    def need(self, state: RolloutState) -> int:
        """Return the ready replicas the canary needs before it goes on."""
        if state.stable is None or self._recreates:
            return self.replicas
        if _mode(state) is Capacity.SURGE:
            return capacity.alike(self.want(state), self.replicas)
        return max(1, capacity.carriers(self.want(state), self.demand(state)))

    def affordable(self, state: RolloutState) -> int:
        """Return the share that may move to the canary's ready replicas, percent."""
        if _mode(state) is Capacity.SURGE:
            return capacity.alike_share(self.have(state), self.replicas)
        return self.bearable(state)

    def bearable(self, state: RolloutState) -> int:
        """Return the share that the canary's ready replicas can carry, percent."""
        return capacity.affordable(self.have(state), self.demand(state))

    def kept(self, state: RolloutState) -> int:
        """Return the share the canary keeps because stable's ready replicas cannot take it."""
        taken = capacity.taken_back(self.fleet.ready(state.stable), self.demand(state))
        return min(state.weight or 0, 100 - taken)

    def room(self, state: RolloutState) -> Room:
        """Return how many replicas stable and canary should have."""
        if state.canary is None or state.stable is None:
            return Room(self.replicas, self.replicas, self.replicas)
        if self.waits_for_stable(state):
            return Room(self.replicas, 0, self.replicas)
        if self._recreates:
            gone = self.fleet.ready(state.stable) == 0
            return Room(0, self.replicas if gone else 0, 0)
        weight, want = state.weight or 0, self.want(state)
        return capacity.divide(_mode(state), self.replicas, self.demand(state), weight, want)

    def waits_for_stable(self, state: RolloutState) -> bool:
        """Return whether the canary's place is still taken by one before it that stable needs.

        A stable that is overdue keeps nobody waiting: the new canary may be what mends it.
        """
        lent = any(item.capacity is not None for item in state.carriers)
        waits = lent and state.stable is not None and state.phase not in ON_TRIAL
        return waits and not state.is_overdue(self.now)

    def find_room(self, state: RolloutState) -> RolloutState:
        """Choose where the canary's replicas go; what is only kept warm makes room first."""
        if state.canary is None or state.stable is None:
            return state
        found = self.canary(state)
        short = found is not None and found.short is not None and self.have(state) < self.replicas
        soon = self.now + DRAIN_S
        if short:
            kept = tuple(
                item if item.weight else replace(item, until=min(item.until, soon))
                for item in state.retained
            )
            state = replace(state, retained=kept)
        asked = self.policy.capacity
        if self.policy.strategy is not Strategy.CANARY:
            mode = Capacity.SURGE
        elif short and state.retained != state.carriers and asked is Capacity.AUTO:
            mode = _mode(state)
        else:
            mode = capacity.choose(asked, state.capacity, self.replicas, self.seen.needed, short)
        return replace(state, capacity=None if mode is Capacity.SURGE else mode)

    @property
    def _recreates(self) -> bool:
        return self.policy.strategy is Strategy.RECREATE


def is_complete(
    state: RolloutState, model: Model, fleet: Fleet, needed: int | None, now: float
) -> bool:
    """Return whether the canary has the ready replicas that it needs to go on.

    Args:
        state: What is remembered.
        model: What is asked for.
        fleet: What the world shows.
        needed: Replicas that the live traffic needs, if somebody measures it.
        now: Unix seconds.
    """
    look = Look(model, fleet, Observations(needed=needed), now)
    return look.have(state) >= look.need(look.find_room(state))


def analysis_of(policy: RolloutPolicy) -> AnalysisPolicy | None:
    """Return how canaries are judged; None if nothing is."""
    return policy.analysis if policy.analysis is not None and policy.analysis.metrics else None


def _mode(state: RolloutState) -> Capacity:
    return state.capacity or Capacity.SURGE
