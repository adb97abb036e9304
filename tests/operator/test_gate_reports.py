"""Reports are kept once per judged load test, and hold no rollout up."""

from dataclasses import replace

import pytest

from operator_gates import FakeGates
from operator_models import REF
from pagelet_operator.core.gate_tries import MAX_MESSAGE
from pagelet_operator.core.gates import GateKey, GateKind, GateResult, GateRun, GateStatus
from pagelet_operator.gate_reports import keep_reports

KEY = GateKey("chat-b", GateKind.LOAD_TEST, "0" * 8)
RUN = GateRun(KEY)
PASSED = GateResult(status=GateStatus.PASSED, message="fast", figures={"ttftP50": 0.2})
STABLE = replace(PASSED, figures={"ttftP50": 0.1})
LEFT = {RUN: GateResult(status=GateStatus.MEASURED, figures={"ttftP50": 0.2})}
MEMORY = {KEY: PASSED, replace(KEY, revision="chat-a"): STABLE}


async def keep(gates, memory=MEMORY, *, stored=None, running=LEFT, stable="chat-a"):
    return await keep_reports(
        gates, REF, memory, stored=stored or {}, running=running, stable=stable
    )


async def test_a_judged_load_test_is_kept_beside_stables_profile_and_says_where():
    gates = FakeGates()
    memory = await keep(gates)
    (kept,) = gates.kept
    assert memory[KEY].message == "fast; report: shelf/chat-b-loadtest"
    assert "+100.0 %" in kept.page
    assert memory[replace(KEY, revision="chat-a")] == STABLE


async def test_a_report_that_is_remembered_is_not_written_again():
    gates = FakeGates()
    first = await keep(gates)
    assert await keep(gates, first, stored=first) == first
    assert len(gates.kept) == 1


async def test_a_look_that_was_not_stored_keeps_the_same_report_again():
    gates = FakeGates()
    assert await keep(gates) == await keep(gates)
    assert gates.kept[0] == gates.kept[1]


async def test_what_cannot_be_kept_leaves_the_result_as_it_is():
    gates = FakeGates()
    gates.is_full = True
    assert await keep(gates) == MEMORY


@pytest.mark.parametrize(
    ("key", "result", "running"),
    [
        (replace(KEY, kind=GateKind.WARMUP), PASSED, LEFT),
        (KEY, replace(PASSED, status=GateStatus.RUNNING), LEFT),
        (KEY, replace(PASSED, figures={}), LEFT),
        (KEY, PASSED, {}),
    ],
)
async def test_only_a_load_test_with_figures_has_a_report(key, result, running):
    gates = FakeGates()
    assert await keep(gates, {key: result}, running=running) == {key: result}
    assert gates.kept == []


async def test_the_stable_revisions_own_test_is_compared_with_nothing():
    gates = FakeGates()
    await keep(gates, {KEY: PASSED}, stable="chat-b")
    assert "which serves" not in gates.kept[0].page


async def test_a_long_message_still_says_where_the_report_is():
    memory = await keep(FakeGates(), {KEY: replace(PASSED, message="x" * MAX_MESSAGE)})
    assert len(memory[KEY].message) == MAX_MESSAGE
    assert memory[KEY].message.endswith("report: shelf/chat-b-loadtest")
