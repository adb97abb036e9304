"""Events: one per decision, with the reason that condition and log carry."""

from typing import Any

from pagelet_operator.kube.events import MAX_NOTE, decision_event, event, scaling_event

RESOURCE = {"metadata": {"name": "chat", "namespace": "models", "uid": "u", "resourceVersion": "7"}}


def status(reason: str, message: str = "because", **rollout: Any) -> dict[str, Any]:
    progressing = {"type": "Progressing", "status": "True", "reason": reason, "message": message}
    accepted = {"type": "Accepted", "status": "True", "reason": "Valid", "message": ""}
    return {"conditions": [accepted, progressing], "rollout": rollout}


def refused(message: str) -> dict[str, Any]:
    accepted = {"type": "Accepted", "status": "False", "reason": "Invalid", "message": message}
    return {"conditions": [accepted]}


def reason(before: dict[str, Any], after: dict[str, Any]) -> str | None:
    found = decision_event(RESOURCE, before, after, 0.0)
    return found["reason"] if found else None


def test_a_new_reason_is_an_event() -> None:
    assert reason({}, status("CanaryNotReady")) == "CanaryNotReady"
    assert reason(status("Holding"), status("StepCompleted", step=1)) == "StepCompleted"


def test_the_same_reason_at_the_same_place_is_none() -> None:
    before, after = status("CanaryNotReady", "0 of 2"), status("CanaryNotReady", "1 of 2")
    assert reason(before, after) is None


def test_the_same_reason_at_another_step_is_another_decision() -> None:
    before, after = status("StepCompleted", step=1), status("StepCompleted", step=2)
    assert reason(before, after) == "StepCompleted"


def test_standing_still_is_no_decision() -> None:
    for quiet in ("Holding", "Stable", "RolloutFailed"):
        assert reason(status("Promoted"), status(quiet)) is None


def test_a_refusal_is_a_warning_with_the_sentence() -> None:
    found = decision_event(RESOURCE, status("Stable"), refused("spec.model: is required"), 0.0)
    assert found is not None
    assert (found["type"], found["reason"]) == ("Warning", "Invalid")
    assert found["note"] == "spec.model: is required"
    assert reason(refused("spec.model: is required"), status("Stable")) is None


def test_a_promotion_says_who_serves() -> None:
    after = status("Promoted", "") | {"stable": {"revision": "chat-b"}}
    found = decision_event(RESOURCE, {}, after, 0.0)
    assert found is not None
    assert (found["type"], found["note"]) == ("Normal", "chat-b serves all traffic")


def test_the_name_is_of_the_version_that_was_decided_on_and_the_note_fits() -> None:
    built = event(RESOURCE, "Promoted", "x" * 5000, 1.5)
    assert built["metadata"] == {"name": "chat.7", "namespace": "models"}
    assert len(built["note"]) == MAX_NOTE
    assert built["eventTime"] == "1970-01-01T00:00:01.500000Z"


def test_a_write_that_fails_is_told_once_and_as_a_warning() -> None:
    failed = {"type": "Applied", "status": "False", "reason": "WriteFailed", "message": "a quota"}
    after = status("CanaryNotReady")
    after["conditions"].append(failed)
    found = decision_event(RESOURCE, {}, after, 0.0)
    assert found is not None
    assert (found["reason"], found["note"], found["type"]) == ("WriteFailed", "a quota", "Warning")
    assert decision_event(RESOURCE, after, after, 0.0) is None


def test_a_refused_command_is_told_once_with_the_reason() -> None:
    answer = {"token": "resume/1", "accepted": False, "message": "it is not paused"}
    after = status("Holding", command=answer)
    found = decision_event(RESOURCE, status("Holding"), after, 0.0)
    assert found is not None
    assert (found["reason"], found["note"]) == ("CommandRefused", "resume/1: it is not paused")
    assert found["type"] == "Warning"
    assert decision_event(RESOURCE, after, after, 0.0) is None


def test_a_pause_for_a_reason_that_was_there_before_is_a_decision_of_its_own() -> None:
    waiting = status("Inconclusive")
    assert reason(waiting, status("Inconclusive", paused={"since": "x"})) == "Inconclusive"
    assert reason(status("Holding"), waiting) == "Inconclusive"


def test_a_new_number_of_replicas_is_an_event_of_its_own():
    before = {"scaling": {"replicas": 2, "reason": "AtTarget", "message": ""}}
    after = {"scaling": {"replicas": 4, "reason": "LoadGrows", "message": "100 expected"}}
    found = scaling_event(RESOURCE, before, after, 1_800_000_000.0)
    assert (found["reason"], found["type"]) == ("LoadGrows", "Normal")
    assert found["note"] == "2 -> 4 replicas: 100 expected"
    assert found["metadata"]["name"].endswith(".scaling")
    assert scaling_event(RESOURCE, after, after, 0.0) is None
    assert scaling_event(RESOURCE, {}, after, 0.0) is None
