from operator_models import a_fleet, a_model
from pagelet_operator.core.model import Fleet, RevisionFleet, Role
from pagelet_operator.core.planning import decide
from pagelet_operator.core.rollout import Phase, RolloutState

SERVING = RolloutState(phase=Phase.STABLE, stable="chat-a")


def test_each_revision_keeps_its_own_template():
    fleet = a_fleet({"chat-a": 1, "chat-b": 0})
    plan = decide(a_model("chat-b"), SERVING, fleet, 0.0).plan
    assert {item.revision: item.template["model"]["source"] for item in plan.revisions} == {
        "chat-a": "dummy://chat-a",
        "chat-b": "dummy://chat-b",
    }


def test_stable_has_all_its_replicas_the_canary_its_share_and_a_retired_one_keeps_its_own():
    state = RolloutState(phase=Phase.STABLE, stable="chat-a", canary="chat-b")
    outcome = decide(a_model("chat-c", replicas=3), state, a_fleet({"chat-a": 1, "chat-b": 2}), 0.0)
    planned = {item.revision: (item.role, item.replicas) for item in outcome.plan.revisions}
    assert planned == {
        "chat-a": (Role.STABLE, 3),
        "chat-c": (Role.CANARY, 1),
        "chat-b": (Role.RETIRED, 2),
    }


def test_traffic_names_only_ready_endpoints_and_all_planned_revisions():
    fleet = Fleet(
        {
            "chat-a": RevisionFleet(
                revision="chat-a", template={}, replicas=2, endpoints=("http://10.0.0.1:8000",)
            )
        }
    )
    traffic = decide(a_model("chat-a", generation=7), SERVING, fleet, 0.0).plan.traffic
    assert traffic == {
        "name": "chat",
        "resource": "default/chat",
        "generation": 7,
        "requestTimeoutSeconds": 600.0,
        "revisions": [
            {
                "name": "chat-a",
                "role": "stable",
                "weight": 100,
                "endpoints": [{"url": "http://10.0.0.1:8000"}],
            }
        ],
        "rollout": {"phase": "Stable", "message": ""},
    }


def test_a_plan_knows_what_it_holds():
    plan = decide(a_model("chat-a"), SERVING, a_fleet({"chat-a": 1}), 0.0).plan
    assert "chat-a" in plan
    assert "chat-b" not in plan
