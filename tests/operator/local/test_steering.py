"""Commands on their way to the loop: one at a time, answered, and of models that exist."""

import asyncio

import pytest

from operator_models import REF, a_fleet, a_model
from pagelet_operator.api.rollout_text import RolloutError
from pagelet_operator.core.model import ModelRef
from pagelet_operator.core.planning import decide
from pagelet_operator.core.rollout import Observations, Phase, RolloutState
from pagelet_operator.local.steering import Steering

FLEET = a_fleet({"chat-a": 1, "chat-b": 1})


class Loop:
    """The part of a supervisor that steering meets."""

    def __init__(self, *refs):
        self.refs = refs or (REF,)
        self.woken = 0
        self.steering = Steering(self.wake, "http://here/v1")
        self.states = dict.fromkeys(self.refs, RolloutState(phase=Phase.STABLE, stable="chat-a"))
        self.turn()

    def wake(self):
        self.woken += 1
        asyncio.get_running_loop().call_soon(self.turn)

    def turn(self):
        for ref in self.refs:
            model = a_model("chat-b", ref=ref)
            seen = Observations(command=self.steering.command(ref))
            outcome = decide(model, self.states[ref], FLEET, 0.0, seen)
            self.states[ref] = outcome.state
            self.steering.note(model, outcome)
        self.steering.turned(self.refs)


async def test_a_command_is_given_to_the_loop_and_answered_with_the_status():
    loop = Loop()
    status = await loop.steering.handle("chat", "pause/1")
    assert status["rollout"]["command"]["accepted"] is True
    assert status["rollout"]["paused"]["reason"] == "Paused"
    assert loop.woken == 1


async def test_several_at_once_are_all_answered_in_order():
    loop = Loop()
    words = ["pause/1", "resume/2", "promote/3"]
    found = await asyncio.gather(*(loop.steering.handle("chat", word) for word in words))
    assert [status["rollout"]["command"]["accepted"] for status in found] == [True] * 3
    assert found[-1]["rollout"]["step"] == 1


async def test_a_question_wakes_nobody():
    loop = Loop()
    assert (await loop.steering.handle("chat", None))["rollout"]["phase"] == "Progressing"
    assert loop.woken == 0


async def test_a_name_in_two_namespaces_has_to_be_written_whole():
    loop = Loop(REF, ModelRef("other", "chat"))
    with pytest.raises(RolloutError, match="default/chat, other/chat"):
        await loop.steering.handle("chat", None)
    assert (await loop.steering.handle("other/chat", None))["rollout"]


async def test_a_model_that_left_is_unknown_and_its_command_forgotten():
    loop = Loop()
    await loop.steering.handle("chat", "pause/1")
    loop.steering.turned(())
    assert loop.steering.command(REF) is None
    with pytest.raises(RolloutError, match="there are: none yet"):
        await loop.steering.handle("chat", None)


async def test_whoever_waits_for_a_model_that_leaves_is_told():
    loop = Loop()
    loop.wake = lambda: asyncio.get_running_loop().call_soon(loop.steering.turned, ())
    loop.steering = Steering(loop.wake, "http://here/v1")
    loop.turn()
    with pytest.raises(RolloutError, match="no model 'chat'"):
        await loop.steering.handle("chat", "pause/1")
