import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_models import a_fleet, a_model
from pagelet_operator.core.conditions import conditions, merge, rejected
from pagelet_operator.core.planning import decide
from pagelet_operator.core.revalidation import Reason, Validation
from pagelet_operator.core.rollout import Phase, RolloutState

SERVING = RolloutState(phase=Phase.STABLE, stable="chat-a")
FAILED = RolloutState(phase=Phase.FAILED, stable="chat-a", failed="chat-b", message="broken")


def by_type(items):
    return {item.type: item for item in items}


def test_a_served_model_is_accepted_and_ready_and_neither_moving_nor_stuck():
    outcome = decide(a_model("chat-a"), SERVING, a_fleet({"chat-a": 1}), 0.0)
    found = by_type(conditions(outcome, 3, (), 10.0))
    assert {name: item.status for name, item in found.items()} == {
        "Accepted": "True", "Applied": "True", "Ready": "True", "Progressing": "False",
        "Stalled": "False", "TrafficShaped": "True",
    }  # fmt: skip
    assert all(item.observed_generation == 3 for item in found.values())


def test_a_failed_rollout_stalls_but_stays_ready():
    outcome = decide(a_model("chat-b"), FAILED, a_fleet({"chat-a": 1}), 0.0)
    found = by_type(conditions(outcome, 4, (), 10.0))
    assert (found["Ready"].status, found["Stalled"].status) == ("True", "True")
    assert found["Stalled"].message == "broken"


def test_a_stable_without_ready_replicas_is_not_ready():
    outcome = decide(a_model("chat-a"), SERVING, a_fleet({"chat-a": 0}), 0.0)
    assert by_type(conditions(outcome, 1, (), 0.0))["Ready"].reason == "NoReplicaReady"


def test_a_refused_edit_keeps_saying_that_the_old_one_serves():
    outcome = decide(a_model("chat-a"), SERVING, a_fleet({"chat-a": 1}), 0.0)
    before = conditions(outcome, 1, (), 10.0)
    found = by_type(rejected("spec.engine.dtype: no such type", 2, before, 20.0))
    assert found["Accepted"].status == "False"
    assert "spec.engine.dtype" in found["Accepted"].message
    assert (found["Ready"].status, found["Ready"].observed_generation) == ("True", 1)


@given(st.lists(st.sampled_from(["True", "False", "Unknown"]), min_size=1, max_size=8))
def test_the_transition_time_moves_exactly_when_the_status_does(statuses):
    before, changed_at = (), None
    for now, status in enumerate(statuses):
        if now == 0 or status != statuses[now - 1]:
            changed_at = float(now)
        before = merge([("Ready", status, f"Reason{now}", "")], now, before, float(now))
        assert before[0].last_transition_time == changed_at
        assert before[0].reason == f"Reason{now}"


@pytest.mark.parametrize(
    ("validation", "status"),
    [
        (Validation(Reason.VALIDATED), "True"),
        (Validation(Reason.NOT_TESTED, "no load test was passed yet"), "False"),
        (None, None),
    ],
)
def test_performance_is_validated_by_a_load_test_and_not_spoken_of_without_one(validation, status):
    outcome = decide(a_model("chat-a"), SERVING, a_fleet({"chat-a": 1}), 0.0)
    found = by_type(conditions(outcome, 1, (), 0.0, validation=validation))
    said = found.get("PerformanceValidated")
    assert (said and said.status) == status
    assert validation is None or said.reason == validation.reason


@pytest.mark.parametrize(
    ("uncapped", "misshapen", "expected"),
    [
        ((), None, ("True", "Capped")),
        (("maxPromptTokens",), None, ("False", "CapsMissing")),
        (("maxPromptTokens",), "few huge prompts", ("False", "RequestShape")),
        ((), "few huge prompts", ("False", "RequestShape")),
    ],
)
def test_traffic_is_shaped_where_one_request_is_capped_and_no_shape_hurts(
    uncapped, misshapen, expected
):
    outcome = decide(a_model(), RolloutState(), a_fleet(), 0.0)
    found = conditions(outcome, 1, (), 0.0, uncapped=uncapped, misshapen=misshapen)
    shaped = by_type(found)["TrafficShaped"]
    assert (shaped.status, shaped.reason) == expected
    assert all(f"limits.{name}" in shaped.message for name in uncapped if not misshapen)
