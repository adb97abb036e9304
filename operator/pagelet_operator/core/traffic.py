"""The route table: who serves which share of a model's requests, and where.

The gateway obeys it (docs/reference/route-table.md has schema and example). An entry is
derived anew from spec, rollout and fleet at every reconcile, never edited.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pagelet_operator.core.model import Fleet, Model, RevisionPlan, Role
from pagelet_operator.core.rollout import RolloutState

SCHEMA_VERSION = 1


def route(
    model: Model, revisions: Sequence[RevisionPlan], fleet: Fleet, state: RolloutState
) -> dict[str, Any]:
    """Return one model's entry: its revisions with weight, role and ready endpoints, its policy.

    What a canary may take holds while stable can take the rest. How the rollout stands comes
    with it, for people who look at a gateway.
    """
    relieved = any(r.role is Role.STABLE and fleet.ready(r.revision) for r in revisions)
    return {
        **model.traffic.entry,
        "name": model.served_name,
        "resource": str(model.ref),
        "generation": model.generation,
        "requestTimeoutSeconds": model.request_timeout_s,
        "revisions": [
            {
                **(model.traffic.canary if item.role is Role.CANARY and relieved else {}),
                "name": item.revision,
                "role": item.role.value,
                "weight": item.weight,
                "endpoints": [{"url": url} for url in _endpoints(item.revision, fleet)],
            }
            for item in revisions
        ],
        "rollout": _told(state),
    }


def route_table(routes: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the versioned document of all models, sorted by name."""
    entries = sorted(routes, key=lambda entry: str(entry["name"]))
    return {"schemaVersion": SCHEMA_VERSION, "models": entries}


def _told(state: RolloutState) -> dict[str, Any]:
    """Return the part of `status.rollout` that people read, under the names it has there."""
    said, paused = state.assessment, state.paused
    return {
        "phase": state.phase.value,
        "message": state.message,
        **(
            {"assessment": {"verdict": said.verdict.value, "message": said.message}} if said else {}
        ),
        **({"paused": {"message": paused.message}} if paused else {}),
    }


def _endpoints(revision: str, fleet: Fleet) -> tuple[str, ...]:
    seen = fleet.revisions.get(revision)
    return seen.endpoints if seen else ()
