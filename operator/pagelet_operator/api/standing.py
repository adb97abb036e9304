"""How a model stands, line by line, from its status: the same view of both worlds. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pagelet_operator.api.rollout_text import shown_phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One revision of a model; a model that has none yet has one line without a revision."""

    model: str
    phase: str
    role: str = "-"
    revision: str = "-"
    weight: str = "-"
    ready: str = "-"
    ttft_p99: str = "-"
    itl_p99: str = "-"
    queue: str = "-"
    verdict: str = "-"
    message: str = ""


def standings(name: str, status: Mapping[str, Any]) -> tuple[Standing, ...]:
    """Return stable and canary as lines; why things are as they are is said once, in the last."""
    rollout = status.get("rollout") or {}
    phase = shown_phase(status)
    message = (rollout.get("paused") or {}).get("message") or rollout.get("message") or ""
    roles = [role for role in ("stable", "canary") if status.get(role)]
    lines = [
        _standing(name, phase, role, status, message if role == roles[-1] else "") for role in roles
    ]
    return tuple(lines) or (Standing(model=name, phase=phase, message=message),)


def _standing(
    name: str, phase: str, role: str, status: Mapping[str, Any], message: str
) -> Standing:
    found = status[role]
    figures: Mapping[str, Any] = (status.get("figures") or {}).get(role) or {}
    said = (status.get("rollout") or {}).get("assessment") or {}
    return Standing(
        model=name,
        phase=phase,
        role=role,
        revision=found["revision"],
        weight=f"{found['weight']} %",
        ready=f"{found['readyReplicas']}/{found['replicas']}",
        ttft_p99=figures.get("ttftP99", "-"),
        itl_p99=figures.get("itlP99", "-"),
        queue=figures.get("queue", "-"),
        verdict=_verdict(said) if role == "canary" else "-",
        message=message,
    )


def _verdict(said: Mapping[str, Any]) -> str:
    return f"{said['verdict']}: {said['message']}" if said else "-"
