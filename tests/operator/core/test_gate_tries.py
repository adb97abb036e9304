"""One try of a gate: what it was, and when there is another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.gate_tries import (
    LAST_RETRY_S,
    MAX_MESSAGE,
    START_LIMIT_S,
    because,
    judged,
    retry_at,
    seen,
)
from pagelet_operator.core.gates import FINISHED, Gate, GateKind, GateResult, GateStatus

GATE = Gate(GateKind.WARMUP, {"requests": 3}, 60.0, {})
BEGUN = GateResult(status=GateStatus.PENDING, started_at=100.0)


def tried(status: GateStatus, **more) -> GateResult:
    return GateResult(status=status, **more)


@given(st.integers(1, 10_000), st.floats(0, 1e9))
def test_the_wait_after_an_error_is_bounded(errors, at):
    result = GateResult(status=GateStatus.ERROR, finished_at=at, errors=errors)
    assert at < retry_at(result) <= at + LAST_RETRY_S + 1e-3


@pytest.mark.parametrize(("failed", "status"), [(0.0, GateStatus.PASSED), (1.0, GateStatus.FAILED)])
def test_figures_become_a_result_and_what_the_program_said_is_kept(failed, status):
    figures = {"requests": 3.0, "failed": failed, "firstTtft": 0.2, "ttftP50": 0.1}
    run = tried(GateStatus.MEASURED, figures=figures, message="plot.svg", finished_at=9.0)
    found = judged(run, GATE, None)
    assert (found.status, found.finished_at) == (status, 9.0)
    assert found.message.endswith("plot.svg")


def test_what_has_no_figures_yet_is_left_as_it_is():
    assert judged(None, GATE, None) is None
    running = tried(GateStatus.RUNNING)
    assert judged(running, GATE, None) is running


@pytest.mark.parametrize(
    ("said", "now", "status"),
    [
        (tried(GateStatus.PENDING), 100.0 + START_LIMIT_S - 1, GateStatus.PENDING),
        (tried(GateStatus.PENDING), 100.0 + START_LIMIT_S, GateStatus.ERROR),
        (tried(GateStatus.RUNNING, started_at=110.0), 169.0, GateStatus.RUNNING),
        (tried(GateStatus.RUNNING, started_at=110.0), 170.0, GateStatus.FAILED),
        (tried(GateStatus.ERROR), 101.0, GateStatus.ERROR),
        (tried(GateStatus.PASSED), 101.0, GateStatus.PASSED),
    ],
)
def test_only_a_program_that_began_and_took_too_long_is_the_canarys_fault(said, now, status):
    found = seen(BEGUN, said, GATE, now)
    assert found.status is status
    assert found.errors == (status is GateStatus.ERROR)


statuses = st.sampled_from(sorted(set(GateStatus) - {GateStatus.MEASURED}))
results = st.builds(
    GateResult,
    status=statuses,
    errors=st.integers(0, 5),
    started_at=st.floats(0, 100),
    finished_at=st.floats(0, 100),
    message=st.text(max_size=2 * MAX_MESSAGE),
)


@given(st.none() | results, st.none() | results, st.floats(100, 1e6))
def test_what_is_over_stays_and_no_try_is_forgotten(before, said, now):
    found = seen(before, said, GATE, now)
    if before is None or before.status in FINISHED:
        assert found is before
        return
    if found is None:
        assert not before.errors, "an error before is remembered"
        return
    assert found.errors in (before.errors, before.errors + 1)
    assert len(found.message) <= max(MAX_MESSAGE, len(before.message))
    assert said is not None or found.status is GateStatus.ERROR


def test_a_reason_is_the_end_of_a_sentence_or_nothing():
    assert (because("no image"), because("")) == (": no image", "")
