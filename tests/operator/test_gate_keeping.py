"""Gates in the loop: no user before they are passed, and no result lost or counted twice."""

from dataclasses import replace

import pytest

from operator_gates import FakeGates
from operator_models import REF, a_model
from pagelet_operator.core.gates import Gate, GateKind, GateStatus
from pagelet_operator.core.rollout import Phase, RolloutState, parse_command
from pagelet_operator.reconcile import reconcile
from pagelet_operator.senses import NO_SENSES, Senses
from pagelet_operator.testing import FakeRuntime

WARMUP = Gate(GateKind.WARMUP, {"requests": 2}, 60.0)
PARITY = Gate(GateKind.PARITY, {"maxTokens": 4}, 60.0, {"minAgreementPercent": 95.0})
LOAD = Gate(
    GateKind.LOAD_TEST,
    {"profile": "single"},
    60.0,
    {"maxIncreasePercent": 25.0, "maxDecreasePercent": 20.0, "maxErrorPercent": 0.0},
)


class Story:
    """A stable chat-a, and a canary chat-b that is held to gates."""

    def __init__(self, *gates):
        self.gates = FakeGates()
        self.runtime = FakeRuntime(ready={"chat-a": 1, "chat-b": 1})
        self.state, self.now, self.command = RolloutState(), 1000.0, None
        self.asked, self.target, self.outcome = gates, "chat-a", None
        self.senses = Senses(gates=self.gates)

    async def look(self, *, forget=False):
        model = a_model(self.target)
        policy = replace(model.rollout, gated=bool(self.asked), gates=self.asked)
        self.outcome = await reconcile(
            replace(model, rollout=policy),
            self.state,
            runtime=self.runtime,
            now=self.now,
            senses=self.senses,
            command=self.command and parse_command(self.command),
        )
        if not forget:
            self.state = self.outcome.state
        return self.outcome.decision

    async def at_the_gates(self):
        for self.target in ("chat-a", "chat-a", "chat-b", "chat-b"):
            await self.look()
        assert self.state.phase is Phase.GATING
        return self


async def test_gates_are_run_one_by_one_and_no_user_comes_before_the_last_is_passed():
    story = await Story(PARITY, WARMUP).at_the_gates()
    for kind in (GateKind.WARMUP, GateKind.PARITY):
        assert story.gates.orders[-1].run.key.kind is kind
        assert story.outcome.decision.weights["chat-b"] == 0
        story.gates.end()
        await story.look()
    assert (story.state.phase, story.outcome.decision.reason) == (Phase.PROGRESSING, "GatesPassed")
    assert story.outcome.decision.weights["chat-b"] == 5
    await story.look()
    assert story.gates.runs == {}
    assert len(story.gates.orders) == 2


async def test_one_replica_of_each_revision_is_named():
    story = await Story(PARITY).at_the_gates()
    (order,) = story.gates.orders
    endpoints = {r: f.endpoints for r, f in (await story.runtime.observe(REF)).revisions.items()}
    assert (order.canary, order.stable) == (endpoints["chat-b"][0], endpoints["chat-a"][0])
    assert (order.ref, order.served_name, order.gate) == (REF, "chat", PARITY)


async def test_a_canary_that_fails_is_withdrawn_having_met_nobody():
    story = await Story(PARITY).at_the_gates()
    story.gates.end(agreementPercent=10.0)
    decision = await story.look()
    assert (story.state.phase, decision.reason) == (Phase.FAILED, "GateFailed")
    assert "parity" in story.state.message
    assert decision.weights == {"chat-a": 100}


async def test_a_result_is_stored_before_its_run_is_removed():
    story = await Story(WARMUP, PARITY).at_the_gates()
    story.gates.end()
    await story.look(forget=True)  # It died before it could store what it saw.
    assert story.gates.stopped == []
    await story.look()
    assert story.gates.stopped == []
    await story.look()
    (stopped,) = story.gates.stopped
    assert story.state.gates[stopped.key].status is GateStatus.PASSED


async def test_what_a_dead_one_started_is_adopted_not_started_again():
    story = await Story(WARMUP).at_the_gates()
    story.state = replace(story.state, gates={})
    await story.look()
    assert len(story.gates.orders) == 1
    story.gates.end()
    await story.look()
    assert story.state.phase is Phase.PROGRESSING


async def test_a_retry_runs_the_failed_gate_again():
    story = await Story(WARMUP).at_the_gates()
    story.gates.end(failed=1.0)
    await story.look()
    await story.look()
    story.command = "retry/1"
    for _ in range(3):
        await story.look()
    assert (story.state.phase, len(story.gates.orders)) == (Phase.GATING, 2)
    story.gates.end()
    await story.look()
    assert story.state.phase is Phase.PROGRESSING


async def test_a_passed_gate_is_not_run_again_for_the_same_revision():
    story = await Story(WARMUP).at_the_gates()
    story.gates.end()
    await story.look()
    story.target = "chat-a"
    for _ in range(2):
        await story.look()
    story.now += 100.0
    await story.look()
    story.target = "chat-b"
    for _ in range(3):
        await story.look()
    assert (story.state.phase, len(story.gates.orders)) == (Phase.PROGRESSING, 1)


async def test_a_new_spec_ends_what_runs_for_the_old_one():
    story = await Story(WARMUP).at_the_gates()
    story.target = "chat-c"
    await story.look()
    await story.look()
    assert story.gates.runs == {}
    assert story.state.canary == "chat-c"


async def test_a_canary_that_nobody_wants_any_more_is_not_tried():
    story = Story(WARMUP)
    story.runtime.ready["chat-b"] = 0
    for story.target in ("chat-a", "chat-a", "chat-b"):
        await story.look()
    story.runtime.ready["chat-b"] = 1
    story.target = "chat-c"
    await story.look()
    assert story.gates.orders == []


async def test_promote_leaves_the_gates_and_ends_them():
    story = await Story(WARMUP).at_the_gates()
    story.command = "promote/1"
    await story.look()
    assert story.state.phase is Phase.PROGRESSING
    await story.look()
    assert story.gates.runs == {}


@pytest.mark.parametrize("away", [True, False])
async def test_gates_that_cannot_be_run_pause_the_rollout_and_harm_nobody(away):
    story = await Story(WARMUP).at_the_gates()
    if away:
        story.gates.away = True
    else:
        story.senses = NO_SENSES
    await story.look()
    story.now += 601.0
    decision = await story.look()
    assert story.state.paused.reason == "GateError"
    assert decision.weights["chat-b"] == 0


async def test_while_a_gate_runs_it_is_looked_at_again_soon():
    story = await Story(WARMUP).at_the_gates()
    assert story.outcome.decision.wake_at == story.now + 2.0
    story.gates.end(status=GateStatus.ERROR)
    decision = await story.look()
    assert decision.wake_at == story.now + 10.0


async def test_a_first_revision_meets_no_gate():
    story = Story(WARMUP)
    await story.look()
    await story.look()
    assert story.state.phase is Phase.STABLE
    assert story.gates.orders == []


async def test_the_next_canary_is_compared_with_stable_s_own_load_test():
    story = await Story(LOAD).at_the_gates()
    story.gates.end(requests=48.0, ttftP50=0.1)
    await story.look()
    story.command = "promote-full/1"
    await story.look()
    await story.look()
    assert story.state.stable == "chat-b"
    story.runtime.ready["chat-c"] = 1
    story.target = "chat-c"
    for _ in range(3):
        await story.look()
    story.gates.end(requests=48.0, ttftP50=0.2)
    decision = await story.look()
    assert decision.reason == "GateFailed"
    assert "stable's" in story.state.message
