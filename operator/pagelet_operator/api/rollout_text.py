"""How a rollout stands, from a ModelDeployment's status, for people and for scripts. Pure."""

from collections.abc import Mapping
from typing import Any

ENDED = {"Stable": 0, "Failed": 1}
"""Phases in which nothing moves any more, and the exit code of `status --watch`."""


class RolloutError(Exception):
    """A rollout cannot be read or told anything; the message says why and what to do."""


def shown_phase(status: Mapping[str, Any]) -> str:
    """Return where the rollout stands, in one word; a pause hides what it holds."""
    rollout = status.get("rollout") or {}
    return "Paused" if rollout.get("paused") else str(rollout.get("phase", "Unknown"))


def is_over(status: Mapping[str, Any]) -> bool:
    """Return whether nothing moves any more: what the spec asks for serves, or was withdrawn."""
    generation = status.get("observedGeneration")
    return generation is not None and shown_phase(status) in ENDED


def summary(name: str, status: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a status that are about the rollout, for `--json`."""
    return {
        "name": name,
        "phase": shown_phase(status),
        "stable": status.get("stable"),
        "canary": status.get("canary"),
        "rollout": status.get("rollout"),
    }


def text(name: str, status: Mapping[str, Any]) -> str:
    """Return how the rollout stands, a line for each thing there is to say."""
    rollout = status.get("rollout") or {}
    lines = [f"{name}: {shown_phase(status)}"]
    for role in ("stable", "canary"):
        found = status.get(role)
        if found:
            ready = f"{found['readyReplicas']} of {found['replicas']} ready"
            lines.append(f"  {role:<8} {found['revision']}  {found['weight']} %  {ready}")
    if rollout.get("failed"):
        lines.append(f"  withdrawn {rollout['failed']}")
    said = rollout.get("assessment")
    if said:
        lines.append(f"  verdict  {said['verdict']}: {said['message']}")
    lines += [_gate(gate) for gate in rollout.get("gates") or () if _concerns(gate, status)]
    message = (rollout.get("paused") or {}).get("message") or rollout.get("message")
    if message:
        lines.append(f"  {message}")
    return "\n".join(lines)


def _concerns(gate: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """Return whether a gate's result is about a revision that is shown."""
    shown = [(status.get(role) or {}).get("revision") for role in ("stable", "canary")]
    return gate["revision"] in [*shown, (status.get("rollout") or {}).get("failed")]


def _gate(gate: Mapping[str, Any]) -> str:
    said = f": {gate['message']}" if gate.get("message") else ""
    return f"  gate     {gate['gate']} of {gate['revision']} {gate['status'].lower()}{said}"
