"""When a stored load test speaks for what is served."""

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.gates import Gate, GateKind, GateResult, GateStatus
from pagelet_operator.core.revalidation import (
    BACK_AT,
    MIN_REQUESTS,
    SHIFTED_AT,
    Identity,
    Lengths,
    Reason,
    StoredTest,
    distance,
    identity,
    of_stable,
    validate,
)

SERVING = Identity(model="hf://a/b@", tokenizer="", context_window=None)
COUNTS = st.lists(st.integers(0, 500), min_size=6, max_size=6).map(tuple)
FLAT = (1000, 1000, 1000, 1000)


def stored(prompt=FLAT, output=FLAT, about=SERVING):
    return StoredTest(identity=about, lengths=Lengths(prompt=prompt, output=output), at=1.0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": {"source": "hf://a/c"}}, Reason.MODEL),
        ({"model": {"source": "hf://a/b", "revision": "v2"}}, Reason.MODEL),
        ({"model": {"source": "hf://a/b", "tokenizer": "hf://t"}}, Reason.TOKENIZER),
        ({"model": {"source": "hf://a/b"}, "engine": {"maxModelLen": 64}}, Reason.CONTEXT),
        ({"model": {"source": "hf://a/b"}, "engine": {"dtype": "float16"}}, Reason.VALIDATED),
    ],
)
def test_each_change_has_its_reason(change, reason):
    assert validate(stored(), identity(change), Lengths()).reason is reason


def test_without_a_load_test_nothing_is_validated():
    found = validate(None, SERVING, Lengths(prompt=FLAT))
    assert (found.holds, found.reason) == (False, Reason.NOT_TESTED)


def test_longer_prompts_or_outputs_shift_the_traffic_and_the_distance_is_told():
    longer = (0, 1000, 1000, 2000)
    found = validate(stored(), SERVING, Lengths(prompt=FLAT, output=longer))
    assert found.reason is Reason.VALIDATED
    assert found.distances == {"prompt": 0.0, "output": 0.25}
    longest = (0, 0, 1000, 3000)
    found = validate(stored(), SERVING, Lengths(prompt=longest, output=FLAT))
    assert found.reason is Reason.TRAFFIC
    assert found.message == "prompt lengths are 0.50 from the tested ones, at most 0.34"


def test_a_mix_on_the_border_does_not_turn_the_condition():
    noise = 1.63 * sqrt(1 / 4000 + 1 / 4000)
    between = Lengths(prompt=(0, 1000, 1000, 2000), output=FLAT)
    assert BACK_AT + noise < 0.25 < SHIFTED_AT + noise
    for before in (Reason.TRAFFIC, Reason.VALIDATED):
        assert validate(stored(), SERVING, between, before).reason is before


def test_too_few_requests_shift_nothing_and_bring_nothing_back():
    few = Lengths(prompt=(0, 0, 0, MIN_REQUESTS - 1))
    assert validate(stored(), SERVING, few).holds
    assert validate(stored(), SERVING, few, Reason.TRAFFIC).reason is Reason.TRAFFIC


@given(COUNTS, COUNTS)
def test_the_distance_is_one(ours, theirs):
    found = distance(ours, theirs)
    assert found == distance(theirs, ours)
    if found is None:
        assert not sum(ours) or not sum(theirs)
    else:
        assert 0 <= found <= 1 + 1e-9


@given(COUNTS, st.integers(1, 9))
def test_more_of_the_same_traffic_never_shifts_it(counts, factor):
    live = Lengths(prompt=tuple(n * factor for n in counts), output=tuple(counts))
    assert validate(stored(counts, counts), SERVING, live).holds


@given(COUNTS, COUNTS)
def test_once_shifted_needs_more_to_come_back_than_to_go(then, now):
    about, live = stored(then, then), Lengths(prompt=now, output=now)
    if validate(about, SERVING, live, Reason.VALIDATED).reason is Reason.TRAFFIC:
        assert validate(about, SERVING, live, Reason.TRAFFIC).reason is Reason.TRAFFIC


TEST = Gate(GateKind.LOAD_TEST, {"profile": "single"}, 60.0)
OLD = {"model": {"source": "hf://a/b"}}


def passed(*revisions, status=GateStatus.PASSED):
    result = GateResult(status=status, finished_at=1.0)
    return {TEST.key(revision, None): result for revision in revisions}


@pytest.mark.parametrize(
    ("memory", "reason"),
    [
        ({}, Reason.NOT_TESTED),
        (passed("chat-b", status=GateStatus.FAILED), Reason.NOT_TESTED),
        (passed("chat-b"), Reason.VALIDATED),
        (passed("chat-a", "chat-b"), Reason.VALIDATED),
        (passed("chat-a"), Reason.MODEL),
        (passed("chat-gone"), Reason.NOT_TESTED),
    ],
)
def test_a_revision_s_own_load_test_speaks_for_it_and_another_s_for_the_same_model(memory, reason):
    templates = {"chat-a": OLD, "chat-b": {"model": {"source": "hf://a/c"}}}
    assert of_stable(memory, "chat-b", templates).reason is reason


def test_another_s_load_test_speaks_for_the_same_model_and_context_window():
    same = {"chat-a": OLD, "chat-b": OLD | {"pod": {}}}
    longer = {"chat-a": OLD, "chat-b": OLD | {"engine": {"maxModelLen": 64}}}
    assert of_stable(passed("chat-a"), "chat-b", same).holds
    assert of_stable(passed("chat-a"), "chat-b", longer).reason is Reason.CONTEXT
