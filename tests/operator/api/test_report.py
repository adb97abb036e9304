"""Status is the operator's memory: what is written is read back, or a restart would change it."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from operator_models import a_fleet, a_model
from pagelet_operator.api.report import (
    conditions_from_status,
    figures_due,
    rejected_status,
    state_from_status,
    status,
)
from pagelet_operator.core.analysis import Verdict
from pagelet_operator.core.model import Capacity
from pagelet_operator.core.planning import decide
from pagelet_operator.core.rollout import (
    Answer,
    Assessment,
    Pause,
    Phase,
    Retained,
    RolloutState,
)
from pagelet_operator.core.window import Histogram, Window

names = st.sampled_from(["chat-a", "chat-b", "chat-c"])
times = st.floats(0, 2e9).map(lambda value: round(value, 3))
states = st.builds(
    RolloutState,
    phase=st.sampled_from(Phase),
    stable=st.none() | names,
    canary=st.none() | names,
    failed=st.none() | names,
    step=st.integers(0, 5),
    step_started_at=times,
    weight=st.none() | st.integers(0, 100),
    unready_since=st.none() | times,
    undecided_since=st.none() | times,
    assessment=st.none()
    | st.builds(Assessment, st.sampled_from(Verdict), st.text(), times, st.integers(0, 9)),
    paused=st.none() | st.builds(Pause, times, st.sampled_from(["Paused"]), st.text()),
    capacity=st.sampled_from([None, Capacity.BORROW, Capacity.IN_PLACE]),
    retained=st.lists(st.builds(Retained, names, times, st.booleans()), max_size=3).map(tuple),
    answer=st.none() | st.builds(Answer, st.text(), st.booleans(), st.text()),
    message=st.text(max_size=30),
)


def write(state, now=1000.0, before=None, fleet=None, revision="chat-a"):
    outcome = decide(a_model(revision), state, fleet or a_fleet({"chat-a": 1, "chat-b": 1}), now)
    stored = status(
        a_model(revision), outcome, before=before, endpoint="http://chat", selector="a=b", now=now
    )
    return outcome, stored


@given(states)
def test_a_restart_reads_back_exactly_what_was_decided(state):
    outcome, stored = write(state)
    assert state_from_status(stored) == outcome.state


@given(states)
def test_a_second_reconcile_of_the_same_moment_writes_the_same_status(state):
    # Twice, since the first look may still settle what the drawn state left open.
    first = write(state)[1]
    second = write(state_from_status(first), before=first)[1]
    third = write(state_from_status(second), before=second)[1]
    assert third == second


@given(st.none() | st.dictionaries(st.text(max_size=5), st.integers(), max_size=3))
def test_a_status_of_another_making_starts_over(stored):
    assert state_from_status(stored) == RolloutState()
    assert conditions_from_status({"rollout": {"phase": "Dancing"}}) == ()


def test_what_another_version_wrote_beside_it_or_wrongly_elsewhere_costs_no_memory():
    stored = write(RolloutState(phase=Phase.STABLE, stable="chat-a"))[1]
    changed = stored | {"later": 1, "traffic": "none", "conditions": [{"type": 5}]}
    changed["rollout"] = stored["rollout"] | {"later": {"a": 1}}
    assert state_from_status(changed).stable == "chat-a"
    assert conditions_from_status(changed) == ()


def test_the_conditions_of_others_are_carried_through_as_they_are():
    theirs = {"type": "Audited", "status": "True", "reason": "Fine", "extra": [1]}
    before = {"conditions": [theirs]}
    stored = write(RolloutState(phase=Phase.STABLE, stable="chat-a"), before=before)[1]
    assert stored["conditions"][-1] == theirs
    assert rejected_status("no", 2, stored, 2000.0)["conditions"][-1] == theirs
    ours = [item for item in stored["conditions"] if item != theirs]
    assert len({item["type"] for item in ours}) == len(ours) == 6


def test_the_status_says_what_kubectl_shows():
    stored = write(RolloutState(phase=Phase.STABLE, stable="chat-a"))[1]
    assert stored["stable"] == {
        "revision": "chat-a",
        "weight": 100,
        "replicas": 1,
        "readyReplicas": 1,
    }
    assert stored["endpoint"] == "http://chat"
    assert stored["conditions"][0]["lastTransitionTime"] == "1970-01-01T00:16:40Z"


def test_a_refused_spec_keeps_traffic_and_memory():
    before = write(RolloutState(phase=Phase.STABLE, stable="chat-a"))[1]
    after = rejected_status("spec.engine: no", 9, before, 2000.0)
    assert after["rollout"] == before["rollout"]
    assert after["traffic"] == before["traffic"]
    assert after["observedGeneration"] == 9
    accepted = next(c for c in after["conditions"] if c["type"] == "Accepted")
    assert (accepted["status"], accepted["message"]) == ("False", "spec.engine: no")


def test_figures_are_stored_kept_for_a_minute_and_follow_a_promotion():
    windows = {
        "chat-a": Window(since=0.0, until=60.0, requests=9, errors=1, timeouts=1),
        "chat-b": Window(since=0.0, until=60.0, requests=2, ttft=Histogram((1.0,), (2, 0))),
    }
    fleet = a_fleet({"chat-a": 1, "chat-b": 1})
    on_trial = decide(a_model("chat-b"), RolloutState(stable="chat-a"), fleet, 1000.0)
    options = {"endpoint": None, "selector": None}
    first = status(
        a_model("chat-b"), replace(on_trial, windows=windows), before=None, now=1000.0, **options
    )
    said = first["figures"]
    assert (said["stable"]["requests"], said["stable"]["errors"]) == (9, 2)
    assert said["canary"]["ttftP99"] == "990 ms"
    assert not figures_due(first, 1059.0)
    assert figures_due(first, 1060.0)
    done = decide(a_model("chat-b"), RolloutState(stable="chat-b"), fleet, 1010.0)
    later = status(a_model("chat-b"), done, before=first, now=1010.0, **options)
    assert later["figures"] == {"measuredAt": said["measuredAt"], "stable": said["canary"]}


def test_without_figures_there_are_none_and_they_are_due():
    _, stored = write(RolloutState())
    assert "figures" not in stored
    assert figures_due(stored, 0.0)
