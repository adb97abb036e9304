from operator_models import a_fleet, a_model
from pagelet_operator.core.planning import decide
from pagelet_operator.core.rollout import Phase, RolloutState
from pagelet_operator.local.standing import decision_event, row, serves


def outcome(state, fleet, now=0.0):
    return decide(a_model("chat-b"), state, fleet, now)


def test_a_model_serves_once_the_table_sends_requests_to_a_ready_replica():
    assert not serves(outcome(RolloutState(), a_fleet()))
    assert serves(outcome(RolloutState(stable="chat-b"), a_fleet({"chat-b": 1})))
    assert not serves(outcome(RolloutState(stable="chat-b"), a_fleet({"chat-b": 0})))


def test_the_row_shows_the_canarys_weight_and_all_replicas():
    fleet = a_fleet({"chat-a": 1, "chat-b": 1})
    shown = row(a_model("chat-b"), outcome(RolloutState(stable="chat-a"), fleet))
    assert (shown.stable, shown.canary, shown.weight) == ("chat-a", "chat-b", 5)
    assert (shown.ready, shown.replicas) == (2, 2)


def test_holding_a_step_is_no_new_event():
    fleet = a_fleet({"chat-a": 1, "chat-b": 1})
    model = a_model("chat-b")
    first = outcome(RolloutState(stable="chat-a"), fleet)
    held = outcome(first.state, fleet, 10.0)
    later = outcome(held.state, fleet, 60.0)
    events = [decision_event(model, item) for item in (first, held, later)]
    assert events[0].details == events[1].details != events[2].details
    assert [event.reason for event in events] == ["CanaryReady", "Holding", "StepCompleted"]


def test_a_stable_model_says_who_serves():
    done = outcome(RolloutState(phase=Phase.STABLE, stable="chat-b"), a_fleet({"chat-b": 1}))
    assert decision_event(a_model("chat-b"), done).message == "chat-b serves all requests"
