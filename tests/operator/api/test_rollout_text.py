"""How a rollout is shown: whoever reads it learns where it stands, and what to do."""

from typing import Any

import pytest

from pagelet_operator.api.rollout_text import is_over, shown_phase, summary, text


def status(phase: str = "Progressing", **rollout: Any) -> dict[str, Any]:
    def revision(name: str, weight: int) -> dict[str, Any]:
        return {"revision": name, "weight": weight, "replicas": 2, "readyReplicas": 1}

    return {
        "observedGeneration": 1,
        "rollout": {"phase": phase, "message": "step 1 of 3", **rollout},
        "stable": revision("chat-a", 95),
        "canary": revision("chat-b", 5),
    }


PAUSED = status(paused={"reason": "Inconclusive", "message": "undecided for 600 s"})


def test_both_revisions_are_shown_with_share_and_replicas() -> None:
    assert text("chat", status()).splitlines() == [
        "chat: Progressing",
        "  stable   chat-a  95 %  1 of 2 ready",
        "  canary   chat-b  5 %  1 of 2 ready",
        "  step 1 of 3",
    ]


def test_a_pause_says_why_and_a_verdict_is_shown() -> None:
    shown = text("chat", PAUSED)
    assert shown.startswith("chat: Paused")
    assert "undecided for 600 s" in shown
    judged = status(assessment={"verdict": "Fail", "message": "p99 ITL 80 ms"}, failed="chat-c")
    assert "verdict  Fail: p99 ITL 80 ms" in text("chat", judged)
    assert "withdrawn chat-c" in text("chat", judged)


@pytest.mark.parametrize("stored", [{}, {"rollout": None}, {"conditions": []}])
def test_a_resource_nobody_looked_at_yet_is_unknown_and_not_over(stored: dict[str, Any]) -> None:
    assert text("chat", stored) == "chat: Unknown"
    assert not is_over(stored)


def test_it_is_over_when_nothing_moves_any_more() -> None:
    assert is_over(status("Stable"))
    assert is_over(status("Failed"))
    assert not is_over(status("AwaitingApproval"))
    assert not is_over(PAUSED)


def test_json_has_the_phase_that_people_see_beside_the_one_that_is_held() -> None:
    found = summary("chat", PAUSED)
    assert (found["phase"], found["rollout"]["phase"]) == ("Paused", "Progressing")
    assert shown_phase(PAUSED) == "Paused"
