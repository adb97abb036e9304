"""From a rollout's decision to the whole desired state of one model.

`decide` is the one function of the control plane that chooses; everything else observes or
carries out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pagelet_operator.core.model import Fleet, Model, Plan, RevisionFleet, RevisionPlan, Role
from pagelet_operator.core.revalidation import Validation
from pagelet_operator.core.rollout import UNSEEN, Decision, Observations, RolloutState, step
from pagelet_operator.core.scaling import ScaleDecision, ScalerState, victims
from pagelet_operator.core.traffic import route
from pagelet_operator.core.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one reconcile decided: what to make of the world, and what to remember."""

    decision: Decision
    plan: Plan
    fleet: Fleet
    """The observation it was decided on, for status."""
    seen: Observations = UNSEEN
    """What else was known, for reports."""
    windows: Mapping[str, Window] | None = None
    """What was measured lately by revision, for reports; None where it was not looked at."""
    validation: Validation | None = None
    """Whether a load test speaks for what serves; None where none was run or is asked for."""
    scaling: ScaleDecision | None = None
    """How many replicas there should be; None where nothing decides that."""
    trouble: str | None = None
    """Why a part of the plan could not be carried out, or None."""

    @property
    def state(self) -> RolloutState:
        """What to remember until the next reconcile."""
        return self.decision.state

    @property
    def wake_at(self) -> float | None:
        """When time alone asks for the next look (Unix seconds), or None."""
        scaling_at = None if self.scaling is None else self.scaling.wake_at
        times = (self.decision.wake_at, scaling_at)
        return min((at for at in times if at is not None), default=None)

    @property
    def scaler(self) -> ScalerState | None:
        """What the scaler is to remember; None where nothing is scaled."""
        return None if self.scaling is None else self.scaling.state


def decide(
    model: Model,
    state: RolloutState,
    fleet: Fleet,
    now: float,
    seen: Observations = UNSEEN,
    scaling: ScaleDecision | None = None,
) -> Outcome:
    """Decide what should exist and who gets which traffic. Pure.

    Args:
        model: What is asked for.
        state: What is remembered.
        fleet: What the world shows.
        now: Unix seconds.
        seen: What else is known.
        scaling: Why the model's replicas are as many as they are, where they follow the load.
    """
    decision = step(state, model, fleet, now, seen)
    revisions = tuple(
        _revision_plan(revision, role, model, decision, fleet, scaling)
        for revision, role in decision.roles.items()
    )
    plan = Plan(revisions=revisions, traffic=route(model, revisions, fleet, decision.state))
    return Outcome(decision=decision, plan=plan, fleet=fleet, seen=seen, scaling=scaling)


def _revision_plan(
    revision: str,
    role: Role,
    model: Model,
    decision: Decision,
    fleet: Fleet,
    scaling: ScaleDecision | None,
) -> RevisionPlan:
    seen = fleet.revisions.get(revision)
    template = model.template if revision == model.revision or seen is None else seen.template
    # A retired revision keeps the replicas it has: starting more would cost memory for nothing.
    kept = seen.replicas if seen is not None and role is Role.RETIRED else model.replicas
    replicas = decision.replicas.get(revision, kept)
    return RevisionPlan(
        revision=revision,
        template=template,
        role=role,
        replicas=replicas,
        weight=decision.weights.get(revision, 0),
        first_out=_first_out(seen, replicas, scaling),
    )


def _first_out(
    seen: RevisionFleet | None, replicas: int, scaling: ScaleDecision | None
) -> tuple[str, ...]:
    """Return who should end, where somebody has to and it is known who has the fewest streams."""
    if seen is None or scaling is None or seen.replicas <= replicas:
        return ()
    return victims(seen.endpoints, scaling.streams, seen.replicas - replicas)
