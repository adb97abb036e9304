from dataclasses import replace

from operator_models import a_fleet, a_model
from pagelet_operator.core.planning import decide
from pagelet_operator.core.rollout import Phase, RolloutState
from pagelet_operator.core.window import Histogram, Window
from pagelet_operator.local.standing import decision_event, serves, standing_lines


def outcome(state, fleet, now=0.0):
    return decide(a_model("chat-b"), state, fleet, now)


def test_a_model_serves_once_the_table_sends_requests_to_a_ready_replica():
    assert not serves(outcome(RolloutState(), a_fleet()))
    assert serves(outcome(RolloutState(stable="chat-b"), a_fleet({"chat-b": 1})))
    assert not serves(outcome(RolloutState(stable="chat-b"), a_fleet({"chat-b": 0})))


def test_the_lines_show_both_revisions_and_say_why_once():
    fleet = a_fleet({"chat-a": 1, "chat-b": 1})
    held = outcome(RolloutState(stable="chat-a"), fleet)
    stable, canary = standing_lines(a_model("chat-b"), held, 0.0)
    assert (stable.revision, stable.weight, stable.message) == ("chat-a", "95 %", "")
    assert (canary.revision, canary.weight, canary.ready) == ("chat-b", "5 %", "1/1")
    assert canary.message == "step 1 of 3: chat-b has 5 %"


def test_figures_of_users_stand_in_their_revision_s_line():
    fleet = a_fleet({"chat-a": 1, "chat-b": 1})
    seen = Window(
        since=0.0, until=60.0, requests=40, ttft=Histogram((0.1, 0.2), (0, 40, 0)),
        queue_samples=4, queue_sum=2.0,
    )  # fmt: skip
    held = replace(outcome(RolloutState(stable="chat-a"), fleet), windows={"chat-a": seen})
    stable, canary = standing_lines(a_model("chat-b"), held, 60.0)
    assert (stable.ttft_p99, stable.itl_p99, stable.queue) == ("200 ms", "-", "0.5")
    assert (canary.ttft_p99, canary.queue) == ("-", "-")


def test_a_model_that_has_nothing_yet_has_a_line_that_says_why():
    waiting = outcome(RolloutState(), a_fleet())
    (line,) = standing_lines(a_model("chat-b"), waiting, 0.0)
    assert (line.role, line.ready) == ("canary", "0/1")


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
