from operator_models import a_fleet, a_model
from pagelet_operator.core.analysis import Verdict
from pagelet_operator.core.model import RevisionPlan, Role, TrafficPolicy
from pagelet_operator.core.rollout import Assessment, Pause, Phase, RolloutState
from pagelet_operator.core.traffic import SCHEMA_VERSION, route, route_table


def test_the_table_is_versioned_and_sorted_so_that_equal_worlds_give_equal_bytes():
    entries = [{"name": "b"}, {"name": "a"}]
    table = route_table(entries)
    assert table == {"schemaVersion": SCHEMA_VERSION, "models": [{"name": "a"}, {"name": "b"}]}
    assert route_table(reversed(entries)) == table


def test_what_a_canary_may_take_stands_with_the_canary_alone():
    policy = TrafficPolicy(
        entry={"limits": {"maxPromptTokens": 9}}, canary={"requestsPerMinute": 6}
    )
    plans = [
        RevisionPlan(revision=role.value, template={}, role=role, replicas=1, weight=0)
        for role in Role
    ]
    entry = route(a_model(traffic=policy), plans, a_fleet({"stable": 1}), RolloutState())
    assert entry["limits"] == {"maxPromptTokens": 9}
    limited = [item["name"] for item in entry["revisions"] if "requestsPerMinute" in item]
    assert limited == ["canary"]
    alone = route(
        a_model(traffic=policy), plans, a_fleet({"stable": 0, "canary": 1}), RolloutState()
    )
    assert not any("requestsPerMinute" in item for item in alone["revisions"]), "who else?"


def test_a_policy_cannot_speak_for_the_rollout():
    policy = TrafficPolicy(entry={"name": "other", "revisions": []}, canary={"weight": 100})
    plan = RevisionPlan(revision="a", template={}, role=Role.CANARY, replicas=1, weight=5)
    entry = route(a_model(traffic=policy), [plan], a_fleet(), RolloutState())
    assert (entry["name"], entry["revisions"][0]["weight"]) == ("chat", 5)


def test_how_the_rollout_stands_comes_with_the_entry():
    state = RolloutState(
        phase=Phase.PROGRESSING,
        message="step 1 of 2",
        assessment=Assessment(Verdict.PASS, "alike", 5.0, 0),
        paused=Pause(5.0, "Paused", "by command"),
    )
    assert route(a_model(), [], a_fleet(), state)["rollout"] == {
        "phase": "Progressing",
        "message": "step 1 of 2",
        "assessment": {"verdict": "Pass", "message": "alike"},
        "paused": {"message": "by command"},
    }
    assert route(a_model(), [], a_fleet(), RolloutState())["rollout"] == {
        "phase": "Starting",
        "message": "",
    }
