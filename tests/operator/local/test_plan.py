import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_resources import MINIMAL
from pagelet_operator.api.quantities import seconds
from pagelet_operator.api.resource import parse, to_model
from pagelet_operator.core.model import Fleet, RevisionFleet
from pagelet_operator.core.planning import decide
from pagelet_operator.core.rollout import RolloutState
from pagelet_operator.local.plan import duration, planned, text


def resource(*steps, replicas=1):
    rollout = {"steps": [{"weight": w, "hold": f"{h}s"} for w, h in steps]} if steps else {}
    spec = {**MINIMAL["spec"], "rollout": rollout, "scaling": {"minReplicas": replicas}}
    return parse({**MINIMAL, "spec": spec})


def test_it_names_revision_replicas_and_command():
    plan = planned(resource(replicas=3))
    assert plan.revision == to_model(resource()).revision
    assert (plan.replicas, plan.peak_replicas) == (3, 6)
    assert plan.command.startswith("pagelet serve dummy://")


def test_steps_begin_when_the_holds_before_them_are_over():
    plan = planned(resource((10, 30), (50, 60)))
    assert [(s.at_s, s.weight) for s in plan.steps] == [(0, 10), (30, 50), (90, 100)]
    assert plan.rollout_s == 90


weights = st.lists(st.integers(1, 100), min_size=1, max_size=5, unique=True).map(sorted)


@given(
    weights.flatmap(lambda w: st.tuples(*(st.tuples(st.just(x), st.integers(1, 90)) for x in w)))
)
def test_the_plan_is_what_the_rollout_does(steps):
    """Replays a rollout on a world that is always ready and compares the times."""
    wanted = resource(*steps)
    model = to_model(wanted)
    old = RevisionFleet(revision="old", template={}, replicas=1, endpoints=("http://o",))
    new = RevisionFleet(
        revision=model.revision, template=model.template, replicas=1, endpoints=("http://n",)
    )
    fleet = Fleet({"old": old, model.revision: new})
    state, seen, now = RolloutState(stable="old"), {}, 0.0
    for _ in range(len(steps) + 2):
        outcome = decide(model, state, fleet, now)
        state = outcome.state
        seen.setdefault(outcome.decision.weights[model.revision], now)
        now = outcome.decision.wake_at if state.canary else now
    expected = {}
    for step in planned(wanted).steps:
        expected.setdefault(step.weight, step.at_s)
    assert seen == expected


@given(st.integers(0, 10**7))
def test_a_duration_reads_back(ms):
    assert seconds(duration(ms / 1000)) == pytest.approx(ms / 1000)


def test_json_is_camel_case_with_units():
    document = planned(resource((10, 30))).to_json()
    assert document["steps"] == [
        {"atSeconds": 0.0, "weight": 10},
        {"atSeconds": 30.0, "weight": 100},
    ]
    assert document["rolloutSeconds"] == 30
    assert {"peakReplicas", "servedName", "retainStableSeconds", "progressDeadlineSeconds"} < set(
        document
    )


def test_people_read_durations_as_kubernetes_writes_them():
    shown = text([planned(resource((10, 90), (50, 60)))])
    assert "10 % at 0s, 50 % at 1m30s, 100 % at 2m30s" in shown


@pytest.mark.parametrize(
    ("rollout", "steps", "peak"),
    [
        ({"strategy": "BlueGreen"}, [100], 4),
        ({"strategy": "Recreate"}, [100], 2),
        ({"capacity": "Borrow"}, [2, 10, 50, 100], 2),
        ({"capacity": "Surge"}, [2, 10, 50, 100], 4),
    ],
)
def test_strategy_and_capacity_decide_on_steps_and_peak(rollout, steps, peak):
    spec = {**MINIMAL["spec"], "rollout": rollout, "scaling": {"minReplicas": 2}}
    plan = planned(parse({**MINIMAL, "spec": spec}))
    assert ([step.weight for step in plan.steps], plan.peak_replicas) == (steps, peak)
