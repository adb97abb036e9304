"""Load tests of what serves, in the loop: when needed, once, and ended for users' sake."""

from dataclasses import replace

import pytest

from operator_figures import Figures
from operator_gates import FakeGates
from operator_models import a_model
from pagelet_operator.api.report import state_from_status, status
from pagelet_operator.core.gates import Gate, GateKind, GateResult, GateStatus
from pagelet_operator.core.lengths import BOUNDS, BUCKETS, Lengths
from pagelet_operator.core.quiet_hours import MIN_GAP_S
from pagelet_operator.core.retest import IDLE_S
from pagelet_operator.core.revalidation import Reason
from pagelet_operator.core.rollout import Phase, RolloutState
from pagelet_operator.core.window import Histogram, Window
from pagelet_operator.reconcile import reconcile
from pagelet_operator.senses import Senses
from pagelet_operator.testing import FakeRuntime

LIMITS = {"maxIncreasePercent": 25.0, "maxDecreasePercent": 20.0, "maxErrorPercent": 0.0}
LOAD = Gate(GateKind.LOAD_TEST, {"profile": "single"}, 60.0, LIMITS)
SHORT = (0, 0, 300) + (0,) * (BUCKETS - 3)
LONG = (0,) * (BUCKETS - 3) + (300, 0, 0)


def window(**changes):
    return Window(since=0.0, until=IDLE_S, **changes)


def traffic(counts):
    found = Histogram(BOUNDS, counts)
    return window(requests=300, prompt_lengths=found, output_lengths=found)


class Story:
    """chat-b serves; its load test is that of chat-a, another model, or its own."""

    def __init__(self, tested="chat-a", *, lengths=SHORT, asked=(LOAD,)):
        self.runtime = FakeRuntime(ready={"chat-a": 1, "chat-b": 1})
        self.gates = FakeGates()
        self.figures = Figures({"chat-b": window()})
        self.now, self.target, self.asked = 1_800_000_000.0, "chat-b", asked
        self.outcome = None
        passed = GateResult(
            status=GateStatus.PASSED,
            finished_at=self.now - 2 * MIN_GAP_S,
            lengths=Lengths(prompt=lengths, output=lengths),
        )
        self.state = RolloutState(
            phase=Phase.STABLE, stable="chat-a", gates={LOAD.key(tested, None): passed}
        )

    async def serving(self):
        """chat-a serves, then chat-b takes over without a gate, and chat-a is kept."""
        gates, self.asked = self.asked, ()
        self.target = "chat-a"
        for _ in range(2):
            await self.look()
        self.target = "chat-b"
        for _ in range(12):
            await self.look()
            self.now += 61.0
            if self.state.stable == "chat-b":
                break
        assert (self.state.stable, self.state.canary) == ("chat-b", None)
        self.asked = gates
        return self

    async def look(self, *, forget=False):
        model = a_model(self.target)
        policy = replace(model.rollout, gated=bool(self.asked), gates=self.asked,
                         retain_stable_s=1e6)  # fmt: skip
        self.model = replace(model, rollout=policy)
        self.outcome = await reconcile(
            self.model,
            self.state,
            runtime=self.runtime,
            now=self.now,
            senses=Senses(telemetry=self.figures, gates=self.gates),
        )
        if not forget:
            # As a restart would: what is not stored is lost.
            self.state = state_from_status(self.status())
        return self.state.performance

    def status(self):
        return status(
            self.model, self.outcome, before=None, endpoint=None, selector=None, now=self.now
        )

    def condition(self):
        found = self.status()["conditions"]
        return next(item for item in found if item["type"] == "PerformanceValidated")


async def test_another_model_is_tested_once_and_then_validated():
    story = await Story().serving()
    assert (await story.look()).testing
    assert story.condition()["reason"] == "ModelChanged"
    assert "runs against one replica" in story.condition()["message"]
    assert story.gates.orders == [], "written down first"
    for _ in range(3):
        await story.look()
    (order,) = story.gates.orders
    assert (order.run.key.revision, order.gate, order.stable) == ("chat-b", LOAD, None)
    assert order.canary == "http://chat-b-0:8000"
    story.gates.end()
    await story.look()
    await story.look()
    assert (story.condition()["status"], story.condition()["reason"]) == ("True", "LoadTested")
    assert story.gates.runs == {}
    story.now += 30 * 3600.0
    await story.look()
    assert len(story.gates.orders) == 1


async def test_an_operator_that_dies_anywhere_starts_nothing_twice():
    story = await Story().serving()
    for forget in (True, False, True, True, False, True, False):
        await story.look(forget=forget)
    assert len(story.gates.orders) == 1
    story.gates.end()
    for forget in (True, True, False, True, False, False):
        await story.look(forget=forget)
    assert len(story.gates.orders) == 1
    assert story.condition()["status"] == "True"


async def test_a_lost_status_starts_no_test_and_leaves_none_running():
    story = await Story().serving()
    for _ in range(2):
        await story.look()
    assert len(story.gates.runs) == 1
    story.state = RolloutState()
    for _ in range(3):
        await story.look()
    assert story.condition()["reason"] == "NotTested"
    story.state = replace(story.state, gates={LOAD.key("x", None): GateResult(
        status=GateStatus.PASSED)})  # fmt: skip
    await story.look()
    assert (story.gates.runs, len(story.gates.orders)) == ({}, 1)


async def test_longer_traffic_is_tested_as_it_is_and_validated_by_that():
    story = await Story("chat-b").serving()
    story.figures.told = {"chat-b": traffic(SHORT)}
    await story.look()
    assert story.condition()["status"] == "True"
    story.figures.told = {"chat-b": traffic(LONG)}
    waiting = await story.look()
    assert story.condition()["reason"] == "TrafficShifted"
    assert (waiting.testing, waiting.due_at > story.now) == (False, True), "users are there"
    # The hours after are quiet; the lengths of the busy ones are remembered.
    told = {
        story.now - 3600.0 * 6: traffic(LONG),
    }
    windows = story.figures.windows

    async def by_age(model, fleet, since):
        await windows(model, fleet, since)
        found = told[min(told)] if since <= story.now - 3600.0 * 5 else window()
        return {"chat-b": found}

    story.figures.windows = by_age
    assert (await story.look()).testing
    await story.look()
    (order,) = story.gates.orders
    assert order.gate.settings["lengths"] == {"prompt": list(LONG), "output": list(LONG)}
    story.gates.end()
    (run,) = story.gates.runs
    story.gates.runs[run] = replace(
        story.gates.runs[run], lengths=Lengths(prompt=LONG, output=LONG)
    )
    for _ in range(2):
        await story.look()
    assert story.condition()["status"] == "True"


async def test_users_who_come_back_end_the_test():
    story = await Story().serving()
    for _ in range(2):
        await story.look()
    assert len(story.gates.runs) == 1
    story.figures.told = {"chat-b": window(in_flight_sum=1.0)}
    ended = await story.look()
    assert (ended.testing, story.gates.runs) == (False, {})
    assert "users need every replica" in story.condition()["message"]
    assert not any(key.revision == "chat-b" for key in story.state.gates)


async def test_a_new_revision_ends_the_test_and_its_own_gates_go_first():
    story = await Story().serving()
    for _ in range(2):
        await story.look()
    story.target, story.runtime.ready = "chat-c", {"chat-b": 1, "chat-c": 1}
    for _ in range(3):
        await story.look()
    assert story.state.phase is Phase.GATING
    assert {run.key.revision for run in story.gates.runs} == {"chat-c"}


async def test_a_test_that_fails_is_told_and_tried_again_after_hours():
    story = await Story().serving()
    for _ in range(2):
        await story.look()
    story.gates.end(errorRate=50.0)
    assert "load test failed" in (await story.look()).note
    waiting = await story.look()
    assert (waiting.testing, waiting.due_at) == (False, story.now + MIN_GAP_S)
    assert story.condition()["reason"] == "ModelChanged"
    story.now += MIN_GAP_S
    for _ in range(2):
        await story.look()
    assert len(story.gates.orders) == 2


@pytest.mark.parametrize("told", [None, {}])
async def test_without_figures_no_test_is_run(told):
    story = await Story().serving()
    story.figures.told = told
    waiting = await story.look()
    assert (waiting.testing, waiting.due_at > story.now) == (False, True)
    assert waiting.reason is Reason.MODEL


async def test_a_world_that_does_not_answer_is_asked_again_and_nothing_is_lost():
    story = await Story().serving()
    await story.look()
    story.gates.away = True
    said = await story.look()
    assert (said.testing, story.gates.orders) == (True, [])
    assert "cannot be run: no answer" in story.condition()["message"]
    story.gates.away = False
    await story.look()
    assert len(story.gates.orders) == 1
    assert "runs against one replica" in story.condition()["message"]


async def test_where_no_load_test_is_asked_for_nothing_is_remembered_of_one():
    story = await Story(asked=()).serving()
    story.state = replace(story.state, gates={})
    await story.look()
    assert "performance" not in story.status()
    assert all(item["type"] != "PerformanceValidated" for item in story.status()["conditions"])
