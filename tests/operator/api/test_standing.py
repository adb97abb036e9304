"""The view of a model that both worlds share, made from a status alone."""

from pagelet_operator.api.standing import Standing, standings

STATUS = {
    "stable": {"revision": "chat-a", "weight": 95, "replicas": 2, "readyReplicas": 2},
    "canary": {"revision": "chat-b", "weight": 5, "replicas": 2, "readyReplicas": 1},
    "figures": {
        "measuredAt": "2026-01-01T00:00:00Z",
        "stable": {"revision": "chat-a", "requests": 9, "errors": 0, "ttftP99": "90 ms"},
    },
    "rollout": {
        "phase": "Progressing",
        "message": "step 1 of 3",
        "assessment": {"verdict": "Fail", "message": "errorRate 9 %"},
    },
}


def test_each_revision_has_a_line_and_the_reason_stands_in_the_last():
    stable, canary = standings("chat", STATUS)
    assert (stable.role, stable.weight, stable.ready, stable.ttft_p99) == (
        "stable", "95 %", "2/2", "90 ms",
    )  # fmt: skip
    assert (stable.verdict, stable.message) == ("-", "")
    assert (canary.role, canary.ready, canary.ttft_p99) == ("canary", "1/2", "-")
    assert (canary.verdict, canary.message) == ("Fail: errorRate 9 %", "step 1 of 3")


def test_a_pause_says_itself_and_hides_the_phase_it_holds():
    paused = {"since": "x", "reason": "Paused", "message": "paused by command"}
    lines = standings("chat", STATUS | {"rollout": STATUS["rollout"] | {"paused": paused}})
    assert {line.phase for line in lines} == {"Paused"}
    assert lines[-1].message == "paused by command"


def test_a_resource_nobody_has_looked_at_yet_has_a_line():
    assert standings("chat", {}) == (Standing(model="chat", phase="Unknown"),)
