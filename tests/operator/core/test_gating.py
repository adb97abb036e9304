"""The gates of a canary, in memory: order, memory, errors, limits, restarts."""

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pagelet_operator.core.analysis import Verdict
from pagelet_operator.core.gate_tries import START_LIMIT_S
from pagelet_operator.core.gates import (
    FINISHED,
    Gate,
    GateKind,
    GateResult,
    GateRun,
    GateStatus,
)
from pagelet_operator.core.gating import KEPT_RESULTS, advance, forgive, latest

CANARY, STABLE = "chat-1111111111", "chat-0000000000"
LIMITS = {
    "minAgreementPercent": 90.0,
    "maxIncreasePercent": 25.0,
    "maxDecreasePercent": 20.0,
    "maxErrorPercent": 1.0,
}
GATES = tuple(Gate(kind, {"requests": 3}, 60.0, LIMITS) for kind in reversed(GateKind))
GOOD = {
    GateKind.WARMUP: {"requests": 3.0, "failed": 0.0, "firstTtft": 0.2, "ttftP50": 0.1},
    GateKind.PARITY: {"prompts": 20.0, "agreementPercent": 100.0, "identicalPercent": 100.0},
    GateKind.LOAD_TEST: {"requests": 48.0, "gaps": 4000.0, "ttftP95": 0.5, "itlP95": 0.05},
}
BAD = {
    GateKind.WARMUP: {"requests": 3.0, "failed": 1.0},
    GateKind.PARITY: {"prompts": 20.0, "agreementPercent": 3.0},
    GateKind.LOAD_TEST: {"requests": 48.0, "errorRate": 10.0},
}


def look(memory, running, now, gates=GATES, canary=CANARY):
    return advance(gates, memory, canary, STABLE, running, now)


def measured(run, figures=None):
    return GateResult(status=GateStatus.MEASURED, figures=(figures or GOOD)[run.key.kind])


def through(memory, now=100.0, gates=GATES, canary=CANARY):
    """Let every gate that is started measure something good; return the decision and the order."""
    begun, decision = [], look(memory, {}, now, gates, canary)
    while decision.start is not None:
        begun.append(decision.start)
        running = {decision.start: measured(decision.start)}
        now += 1
        decision = look(decision.memory, running, now, gates, canary)
    return decision, begun


def test_the_cheapest_gate_is_run_first_and_each_waits_for_the_one_before():
    decision, begun = through({})
    assert [run.key.kind for run in begun] == list(GateKind)
    assert decision.verdict is Verdict.PASS
    assert "TTFT 200 ms of the first, 100 ms of the following" in decision.message


def test_a_passed_gate_is_never_run_again():
    decision, _ = through({})
    again = look(decision.memory, {}, 1e9)
    assert (again.verdict, again.start, again.stop) == (Verdict.PASS, None, ())
    assert again.memory == decision.memory


def test_without_gates_nothing_is_in_the_way():
    assert look({}, {}, 1.0, gates=()).verdict is Verdict.PASS


@pytest.mark.parametrize("kind", GateKind)
def test_what_the_canary_did_wrong_fails_it_for_good(kind):
    gates = [gate for gate in GATES if gate.kind is kind]
    begun = look({}, {}, 1.0, gates)
    failed = look(begun.memory, {begun.start: measured(begun.start, BAD)}, 2.0, gates)
    assert failed.verdict is Verdict.FAIL
    assert failed.stop == (begun.start,)
    later = look(failed.memory, {}, 1e9, gates)
    assert (later.verdict, later.start) == (Verdict.FAIL, None)


def test_an_error_is_tried_again_ever_later_and_never_becomes_a_verdict():
    decision, now, waits = look({}, {}, 0.0), 0.0, []
    for _ in range(9):
        run = decision.start
        decision = look(
            decision.memory, {run: GateResult(status=GateStatus.ERROR, message="no image")}, now
        )
        assert decision.verdict is Verdict.ERROR
        assert "no image" in decision.message
        waits.append(decision.wake_at - now)
        assert look(decision.memory, {}, decision.wake_at - 0.5).start is None
        now = decision.wake_at
        decision = look(decision.memory, {}, now)
        assert decision.start == GateRun(run.key, run.attempt + 1)
        # The rollout's deadline goes on while what erred is tried again.
        assert decision.verdict is Verdict.ERROR
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300, 300]


def test_a_canary_that_runs_over_time_fails_and_one_without_room_does_not():
    begun = look({}, {}, 10.0)
    running = {begun.start: GateResult(status=GateStatus.RUNNING, started_at=50.0)}
    assert look(begun.memory, running, 109.0).verdict is Verdict.INCONCLUSIVE
    late = look(begun.memory, running, 110.0)
    assert late.verdict is Verdict.FAIL
    assert "took longer than 60 s" in late.message
    assert late.stop == (begun.start,)
    waiting = {begun.start: GateResult(status=GateStatus.PENDING, message="Insufficient cpu")}
    stuck = look(begun.memory, waiting, 10.0 + START_LIMIT_S)
    assert stuck.verdict is Verdict.ERROR
    assert "Insufficient cpu" in stuck.message


def test_a_run_that_nobody_remembers_is_adopted():
    begun = look({}, {}, 10.0)
    adopted = look({}, {begun.start: GateResult(status=GateStatus.RUNNING, started_at=10.0)}, 12.0)
    assert (adopted.start, adopted.stop, adopted.verdict) == (None, (), Verdict.INCONCLUSIVE)


def test_a_run_whose_process_died_is_started_again():
    begun = look({}, {}, 10.0)
    assert look(begun.memory, {}, 20.0).start == begun.start


def test_what_runs_for_another_canary_is_stopped():
    begun = look({}, {}, 10.0)
    running = {begun.start: GateResult(status=GateStatus.RUNNING, started_at=10.0)}
    other = look(begun.memory, running, 20.0, canary="chat-2222222222")
    assert other.stop == (begun.start,)
    assert other.start.key.revision == "chat-2222222222"


def test_the_canary_is_compared_with_what_stable_did_when_it_was_tested():
    gates = [gate for gate in GATES if gate.kind is GateKind.LOAD_TEST]
    tested, _ = through({}, gates=gates, canary=STABLE)
    begun = look(tested.memory, {}, 200.0, gates)
    slow = {GateKind.LOAD_TEST: GOOD[GateKind.LOAD_TEST] | {"itlP95": 0.1}}
    failed = look(begun.memory, {begun.start: measured(begun.start, slow)}, 201.0, gates)
    assert failed.verdict is Verdict.FAIL
    assert "itlP95 100 ms, stable's 50 ms, at most 62.5 ms" in failed.message


def test_a_retry_forgets_what_failed_and_keeps_what_passed():
    decision, _ = through({}, gates=GATES[1:])
    begun = look(decision.memory, {}, 200.0)
    failed = look(begun.memory, {begun.start: measured(begun.start, BAD)}, 201.0)
    again = look(forgive(failed.memory, CANARY), {}, 300.0)
    assert again.start == begun.start
    assert latest(again.memory, CANARY, GateKind.WARMUP) is not None


def test_memory_keeps_both_revisions_and_a_bounded_rest():
    memory = {}
    for number in range(20):
        memory = dict(
            through(memory, now=100.0 * number + 1, canary=f"chat-{number:010}")[0].memory
        )
    assert len(memory) == KEPT_RESULTS + 2 * len(GATES)
    assert {key.revision for key in memory} > {STABLE, "chat-0000000019"}


class Gating(RuleBasedStateMachine):
    """A world in which runs begin, end, err and vanish, and memory is lost now and then."""

    @initialize()
    def begin(self):
        self.memory, self.running, self.now, self.passed = {}, {}, 1.0, set()
        self.decision = None

    @rule(wait=st.floats(0.1, 400.0), keeps=st.booleans(), starts=st.booleans())
    def look(self, wait, keeps, starts):
        self.now += wait
        self.decision = look(self.memory, self.running, self.now)
        assert self.decision.start is None or self.decision.start.key not in self.passed
        if starts and self.decision.start is not None:
            self.running.setdefault(
                self.decision.start, GateResult(status=GateStatus.PENDING, started_at=self.now)
            )
        if keeps:
            self.memory = dict(self.decision.memory)
            self.passed = {k for k, r in self.memory.items() if r.status is GateStatus.PASSED}
            for run in self.decision.stop:
                del self.running[run]

    @precondition(lambda self: self.running)
    @rule(data=st.data(), status=st.sampled_from([*GateStatus]), good=st.booleans())
    def move(self, data, status, good):
        run = data.draw(st.sampled_from(sorted(self.running)))
        if self.running[run].status in FINISHED | {GateStatus.MEASURED}:
            return
        if status in (GateStatus.MEASURED, GateStatus.PASSED, GateStatus.FAILED):
            self.running[run] = measured(run, GOOD if good else BAD)
        else:
            self.running[run] = replace(self.running[run], status=status)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def vanish(self, data):
        del self.running[data.draw(st.sampled_from(sorted(self.running)))]

    @invariant()
    def only_all_gates_together_pass(self):
        if self.decision is None:
            return
        mine = [r for k, r in self.decision.memory.items() if k.revision == CANARY]
        passed = [r for r in mine if r.status is GateStatus.PASSED]
        assert (self.decision.verdict is Verdict.PASS) == (len(passed) == len(GATES))

    @invariant()
    def one_gate_at_a_time_is_begun(self):
        open_keys = [k for k, r in self.memory.items() if r.status not in FINISHED]
        assert len(open_keys) <= 1

    @invariant()
    def somebody_looks_again(self):
        if self.decision and self.decision.verdict not in (Verdict.PASS, Verdict.FAIL):
            assert self.decision.wake_at is not None


TestGating = Gating.TestCase
TestGating.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
