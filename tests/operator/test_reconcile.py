import pytest

from operator_models import REF, a_model
from pagelet_operator.core.rollout import Phase, RolloutState
from pagelet_operator.ports import UnavailableError
from pagelet_operator.reconcile import reconcile
from pagelet_operator.testing import FakeRuntime


async def settle(runtime, model, state, now):
    for _ in range(3):
        state = (await reconcile(model, state, runtime=runtime, now=now)).state
    return state


async def test_a_satisfied_world_is_not_written_to():
    runtime = FakeRuntime(ready={"chat-a": 1})
    state = await settle(runtime, a_model("chat-a"), RolloutState(), 0.0)
    assert state.phase is Phase.STABLE
    writes = runtime.writes
    await settle(runtime, a_model("chat-a"), state, 1000.0)
    assert runtime.writes == writes


async def test_nothing_is_decided_while_the_world_does_not_answer():
    runtime = FakeRuntime(ready={"chat-a": 1})
    state = await settle(runtime, a_model("chat-a"), RolloutState(), 0.0)
    plan = runtime.plans[REF]
    runtime.unavailable = True
    with pytest.raises(UnavailableError):
        await reconcile(a_model("chat-b"), state, runtime=runtime, now=1.0)
    assert runtime.plans[REF] == plan


async def test_losing_the_state_of_a_crash_between_apply_and_save_only_repeats_work():
    runtime = FakeRuntime(ready={"chat-a": 1, "chat-b": 1})
    old = await settle(runtime, a_model("chat-a"), RolloutState(), 0.0)
    first = await reconcile(a_model("chat-b"), old, runtime=runtime, now=5.0)
    again = await reconcile(a_model("chat-b"), old, runtime=runtime, now=5.0)
    assert again.decision.weights.keys() == first.decision.weights.keys()
    assert again.state.stable == "chat-a"
