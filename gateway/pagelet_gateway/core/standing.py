"""How a model's rollout stands, in the operator's words: for people, never for a decision. Pure.

The words are `status.rollout` of the ModelDeployment, or the same under `rollout` in a table's
file. They may be missing or of another shape, and cost no model its route.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_CHARACTERS = 1000
"""Of one text; what is longer is cut, since tables are kept and compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the operator said last; empty where it said nothing."""

    phase: str = ""
    """Where the rollout stands, in one word."""
    verdict: str = ""
    """What the last look at the canary said, in one word."""
    why: str = ""
    """Why that was the verdict."""
    message: str = ""
    """Why the rollout stands there."""


def excerpt(rollout: object) -> dict[str, Any] | None:
    """Return the parts of `status.rollout` that `standing` reads; None if there is none.

    Times and counters are not among them: they change without anything to tell.
    """
    if not isinstance(rollout, Mapping):
        return None
    said, paused = _part(rollout, "assessment"), _part(rollout, "paused")
    return {
        "phase": _text(rollout, "phase"),
        "message": _text(rollout, "message"),
        "assessment": {"verdict": _text(said, "verdict"), "message": _text(said, "message")},
        **({"paused": {"message": _text(paused, "message")}} if paused else {}),
    }


def standing(rollout: object) -> Standing | None:
    """Read how a rollout stands; a pause hides what it holds. None if nothing is said."""
    found = excerpt(rollout)
    if found is None:
        return None
    paused = found.get("paused")
    return Standing(
        phase="Paused" if paused else found["phase"],
        verdict=found["assessment"]["verdict"],
        why=found["assessment"]["message"],
        message=(paused or {}).get("message") or found["message"],
    )


def _part(item: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = item.get(key)
    return found if isinstance(found, Mapping) else {}


def _text(item: Mapping[str, Any], key: str) -> str:
    found = item.get(key)
    return found[:MAX_CHARACTERS] if isinstance(found, str) else ""
