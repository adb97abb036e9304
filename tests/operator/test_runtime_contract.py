"""What every `Runtime` promises, held against each world that implements it."""

import pytest

from kube_world import kube_world
from operator_models import a_model
from operator_runtimes import WORLDS
from pagelet_operator.core.model import Fleet, ModelRef, Plan, RevisionPlan, Role
from pagelet_operator.core.planning import decide
from pagelet_operator.core.rollout import Phase, RolloutState
from pagelet_operator.reconcile import reconcile


@pytest.fixture(params=[*WORLDS, pytest.param("kube", marks=pytest.mark.cluster)])
async def world(request, tmp_path):
    if request.param == "kube":
        made_by = kube_world(request.getfixturevalue("cluster"))
    else:
        made_by = WORLDS[request.param](tmp_path)
    async with made_by as made:
        yield made


def planned(model, *revisions, replicas=1):
    """A plan with these revisions; the first is stable and gets everything."""
    return Plan(
        revisions=tuple(
            RevisionPlan(
                revision=name,
                template={"model": {"source": f"dummy://{name}"}},
                role=Role.CANARY if index else Role.STABLE,
                replicas=replicas,
                weight=0 if index else 100,
            )
            for index, name in enumerate(revisions)
        ),
        traffic={"name": model.served_name, "revisions": []},
    )


async def test_nothing_is_observed_of_a_model_nobody_applied(world):
    assert await world.runtime.observe(ModelRef("default", "unheard-of")) == Fleet()


async def test_what_is_applied_is_observed(world):
    model = a_model()
    assert await world.runtime.apply(model, planned(model, "chat-a", "chat-b", replicas=2)) > 0
    fleet = await world.runtime.observe(model.ref)
    assert set(fleet.revisions) == {"chat-a", "chat-b"}
    for name, seen in fleet.revisions.items():
        assert seen.revision == name
        assert seen.replicas == 2
        assert seen.template == {"model": {"source": f"dummy://{name}"}}
        assert seen.failure is None


async def test_a_second_apply_of_the_same_plan_writes_nothing(world):
    model = a_model()
    plan = planned(model, "chat-a", "chat-b")
    await world.runtime.apply(model, plan)
    assert await world.runtime.apply(model, plan) == 0


async def test_what_is_not_planned_any_more_disappears_and_the_rest_stays(world):
    model = a_model()
    await world.runtime.apply(model, planned(model, "chat-a", "chat-b"))
    await world.become_ready(model, "chat-a")
    before = (await world.runtime.observe(model.ref)).revisions["chat-a"]
    assert await world.runtime.apply(model, planned(model, "chat-a")) > 0
    fleet = await world.runtime.observe(model.ref)
    assert fleet.revisions == {"chat-a": before}


async def test_replicas_follow_the_plan_up_and_down(world):
    model = a_model()
    for replicas in (1, 3, 2):
        await world.runtime.apply(model, planned(model, "chat-a", replicas=replicas))
        fleet = await world.runtime.observe(model.ref)
        assert fleet.revisions["chat-a"].replicas == replicas


async def test_a_ready_replica_has_an_endpoint_and_each_its_own(world):
    model = a_model()
    await world.runtime.apply(model, planned(model, "chat-a", replicas=2))
    await world.become_ready(model, "chat-a")
    seen = (await world.runtime.observe(model.ref)).revisions["chat-a"]
    assert seen.ready == 2
    assert len(set(seen.endpoints)) == 2
    assert list(seen.endpoints) == sorted(seen.endpoints)
    assert all(url.startswith("http://") for url in seen.endpoints)


async def test_models_do_not_touch_each_other(world):
    one, other = a_model(), a_model(ref=ModelRef("default", "other"), served_name="other")
    await world.runtime.apply(one, planned(one, "chat-a"))
    await world.runtime.apply(other, planned(other, "other-a", "other-b"))
    await world.runtime.apply(one, planned(one, "chat-b"))
    assert set((await world.runtime.observe(one.ref)).revisions) == {"chat-b"}
    assert set((await world.runtime.observe(other.ref)).revisions) == {"other-a", "other-b"}


async def test_a_change_of_traffic_alone_is_at_most_one_write_and_replaces_no_replica(world):
    model = a_model()
    plan = planned(model, "chat-a")
    await world.runtime.apply(model, plan)
    await world.become_ready(model, "chat-a")
    before = await world.runtime.observe(model.ref)
    shifted = Plan(revisions=plan.revisions, traffic={**plan.traffic, "generation": 2})
    # None in a cluster, where traffic lies in the resource's status, the caller's to write.
    assert await world.runtime.apply(model, shifted) <= 1
    assert await world.runtime.observe(model.ref) == before


async def test_the_loop_takes_a_model_from_nothing_to_stable_and_then_rests(world):
    model = a_model()
    outcome = await reconcile(model, RolloutState(), runtime=world.runtime, now=0.0)
    await world.become_ready(model, "chat-a")
    for now in (1.0, 2.0):
        outcome = await reconcile(model, outcome.state, runtime=world.runtime, now=now)
    assert outcome.state.phase is Phase.STABLE
    fleet = await world.runtime.observe(model.ref)
    rested = decide(model, outcome.state, fleet, 3.0)
    assert await world.runtime.apply(model, rested.plan) == 0
