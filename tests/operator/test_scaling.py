"""Load is asked for and decided on; without figures nothing is taken away."""

import pytest

from operator_figures import Figures
from operator_models import a_fleet, a_model
from pagelet_operator.core.model import Role
from pagelet_operator.core.planning import decide
from pagelet_operator.core.rollout import Phase, RolloutState
from pagelet_operator.core.scaling import ScalingPolicy
from pagelet_operator.core.scaling.reading import ReplicaLoad
from pagelet_operator.reconcile import reconcile
from pagelet_operator.scaling import as_decided, look_at_load
from pagelet_operator.senses import Senses
from pagelet_operator.testing import FakeRuntime

POLICY = ScalingPolicy(min_replicas=1, max_replicas=4, places=8)
STATE = RolloutState(phase=Phase.STABLE, stable="chat-a")
MODEL = a_model(scaling=POLICY)
URLS = tuple(f"http://chat-a-{index}:8000" for index in range(3))


def told(*running, at):
    return {
        url: ReplicaLoad(at=at, running=number, waiting=0.0, kv_usage=0.1)
        for url, number in zip(URLS, running, strict=False)
    }


async def looked(figures, fleet, times, memory=None, model=MODEL):
    for now, running in times:
        figures.told_loads = told(*running, at=now)
        decision = await look_at_load(figures, model, STATE, memory, fleet, now)
        memory = decision.state
    return decision


async def test_a_fixed_number_is_not_looked_at():
    assert await look_at_load(Figures({}), a_model(), STATE, None, a_fleet(), 0.0) is None


async def test_load_that_was_read_twice_starts_replicas():
    decision = await looked(Figures({}), a_fleet({"chat-a": 1}), [(0.0, [7.0]), (15.0, [7.0])])
    assert (decision.replicas, decision.reason) == (3, "LoadGrows")


async def test_gateways_that_are_silent_leave_the_engines_words():
    decision = await looked(Figures(None), a_fleet({"chat-a": 1}), [(0.0, [7.0]), (15.0, [7.0])])
    assert decision.replicas == 3


async def test_without_telemetry_what_exists_stays():
    decision = await look_at_load(None, MODEL, STATE, None, a_fleet({"chat-a": 3}), 0.0)
    assert (decision.replicas, decision.reason) == (3, "DataNotUsable")


@pytest.mark.parametrize(("running", "first"), [((5, 0, 3), URLS[1]), ((0, 2, 3), URLS[0])])
async def test_the_replica_with_the_fewest_streams_is_named_to_end(running, first):
    fleet = a_fleet({"chat-a": 3}, {"chat-a": Role.STABLE})
    times = [(15.0 * look, running) for look in range(22)]
    figures, memory = Figures({}), None
    decision = await looked(figures, fleet, times, memory)
    assert (decision.replicas, decision.reason) == (2, "LoadFell") or decision.replicas == 3
    lower = decision.streams
    assert min(lower, key=lambda url: lower[url]) == first
    outcome = decide(as_decided(MODEL, decision), STATE, fleet, 400.0, scaling=decision)
    (planned,) = outcome.plan.revisions
    assert planned.replicas == decision.replicas
    assert planned.first_out == ((first,) if decision.replicas == 2 else ())


async def test_a_reconcile_carries_out_what_was_decided_and_says_when_to_look_again():
    runtime = FakeRuntime(ready={"chat-a": 4})
    first = await reconcile(MODEL, STATE, runtime=runtime, now=0.0)
    figures = Figures({})
    figures.told_loads = told(7.0, at=0.0)
    senses, memory, outcome = Senses(telemetry=figures), None, first
    for now in (0.0, 15.0):
        figures.told_loads = told(7.0, at=now)
        outcome = await reconcile(
            MODEL, STATE, runtime=runtime, now=now, senses=senses, scaling=memory
        )
        memory = outcome.scaler
    assert runtime.plans[MODEL.ref].revisions[0].replicas == 3
    assert outcome.wake_at == 30.0


async def test_an_operator_that_lost_all_memory_keeps_the_replicas_that_exist():
    fleet = a_fleet({"chat-a": 3}, {"chat-a": Role.STABLE})
    decision = await look_at_load(None, MODEL, RolloutState(), None, fleet, 0.0)
    assert decision.replicas == 3
