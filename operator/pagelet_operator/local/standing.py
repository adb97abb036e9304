"""How one model stands, in the words of the report. Pure."""

from pagelet_operator.api.report import status
from pagelet_operator.api.standing import Standing, standings
from pagelet_operator.core.model import Model
from pagelet_operator.core.planning import Outcome
from pagelet_operator.local.report import Event


def serves(outcome: Outcome) -> bool:
    """Return whether the published table sends requests to a replica that is ready."""
    return any(
        item["weight"] > 0 and item["endpoints"] for item in outcome.plan.traffic["revisions"]
    )


def decision_event(model: Model, outcome: Outcome) -> Event:
    """Return a decision as an event; its details are equal as long as nothing visible changed."""
    state = outcome.state
    said = state.assessment
    verdict = f" ({said.verdict}: {said.message})" if said is not None else ""
    scaled = outcome.scaling
    number = f"; {scaled.replicas} replicas ({scaled.reason}: {scaled.message})" if scaled else ""
    return Event(
        reason=outcome.decision.reason,
        model=model.ref.name,
        message=(state.message or f"{state.stable} serves all requests") + verdict + number,
        details={
            "phase": state.phase.value,
            "stable": state.stable,
            "canary": state.canary,
            "weights": dict(outcome.decision.weights),
            "detail": state.message,
            "verdict": None if said is None else said.verdict.value,
            "replicas": None if scaled is None else scaled.replicas,
        },
    )


def standing_lines(model: Model, outcome: Outcome, now: float) -> tuple[Standing, ...]:
    """Return the model's lines of the table."""
    said = status(model, outcome, before=None, endpoint=None, selector=None, now=now)
    return standings(model.ref.name, said)
