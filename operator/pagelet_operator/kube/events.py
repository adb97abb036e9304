"""Events: what the operator decided, for `kubectl describe`; one per decision, not per look."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pagelet_operator.kube.api import EVENTS, MODEL_DEPLOYMENTS, Object

QUIET = frozenset({"Holding", "Stable", "RolloutFailed", "NotStalled", "Valid"})
"""Reasons that say nothing was decided."""

WARNINGS = frozenset(
    {
        "Invalid", "WriteFailed", "ReplicaFailed", "ProgressDeadlineExceeded", "AnalysisFailed",
        "GateFailed", "WaitingForCapacity", "CommandRefused",
    }
)  # fmt: skip

MAX_NOTE = 1024
"""Characters the API server takes."""


def decision_event(
    resource: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any], now: float
) -> Object | None:
    """Return the event of a status change, or None if no decision was taken.

    Args:
        resource: The ModelDeployment the event is about.
        before: Its status so far.
        after: Its status now.
        now: Unix seconds.
    """
    trouble = _trouble(after)
    if trouble is not None and trouble != _trouble(before):
        return event(resource, *trouble, now)
    answered = _answer(after)
    if answered is not None and answered != _answer(before):
        return event(resource, *answered, now)
    reason, note = _decision(after)
    if reason in QUIET or (reason == _decision(before)[0] and _place(before) == _place(after)):
        return None
    return event(resource, reason, note or _message(after), now)


def scaling_event(
    resource: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any], now: float
) -> Object | None:
    """Return the event of a number of replicas that changed, or None. Arguments as above."""
    was, now_is = before.get("scaling") or {}, after.get("scaling") or {}
    if not was or not now_is or was["replicas"] == now_is["replicas"]:
        return None
    note = f"{was['replicas']} -> {now_is['replicas']} replicas: {now_is.get('message', '')}"
    return event(resource, now_is["reason"], note, now, about="scaling")


def event(
    resource: Mapping[str, Any], reason: str, note: str, now: float, *, about: str = ""
) -> Object:
    """Return an event about a ModelDeployment, by the events.k8s.io/v1 conventions.

    Args:
        resource: The ModelDeployment.
        reason: One CamelCase word.
        note: A sentence.
        now: Unix seconds.
        about: What tells it from another event of the same status write.
    """
    meta = resource["metadata"]
    moment = datetime.fromtimestamp(now, UTC)
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        # One event per status write, and each write makes a new version: unique, and the same
        # again if the post is repeated.
        "metadata": {
            "name": ".".join(filter(None, (meta["name"], meta["resourceVersion"], about))),
            "namespace": meta["namespace"],
        },
        "eventTime": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": "Warning" if reason in WARNINGS else "Normal",
        "reason": reason,
        "action": "Reconcile",
        "note": note[:MAX_NOTE],
        "reportingController": "pagelet.dev/operator",
        "reportingInstance": "pagelet-operator",
        "regarding": {
            "apiVersion": MODEL_DEPLOYMENTS.api_version,
            "kind": MODEL_DEPLOYMENTS.kind,
            "namespace": meta["namespace"],
            "name": meta["name"],
            "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"],
        },
    }


def _trouble(status: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return reason and message of what could not be written, or None."""
    for item in status.get("conditions", ()):
        if item["type"] == "Applied" and item["status"] == "False":
            return item["reason"], item["message"]
    return None


def _decision(status: Mapping[str, Any]) -> tuple[str, str]:
    """Return reason and message: why it was refused, else why it progresses."""
    found = {item["type"]: item for item in status.get("conditions", ())}
    accepted = found.get("Accepted")
    if accepted is not None and accepted["status"] == "False":
        return accepted["reason"], accepted["message"]
    progressing = found.get("Progressing")
    return (progressing["reason"], progressing["message"]) if progressing else ("Valid", "")


def _place(status: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return where the rollout stands: the same reason at another place is another decision."""
    rollout = status.get("rollout") or {}
    place = tuple(rollout.get(key) for key in ("stable", "canary", "failed", "step"))
    return (*place, rollout.get("paused") is not None)


def _answer(status: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return reason and message of a command that was refused, or None."""
    answer = (status.get("rollout") or {}).get("command")
    if answer is None or answer["accepted"]:
        return None
    return "CommandRefused", f"{answer['token']}: {answer.get('message', '')}"


def _message(status: Mapping[str, Any]) -> str:
    stable = (status.get("stable") or {}).get("revision")
    return f"{stable} serves all traffic" if stable else "nothing serves"
