"""When a stored load test speaks for what is served."""

from math import sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.gates import Gate, GateKind, GateResult, GateStatus
from pagelet_operator.core.lengths import BOUNDS, Lengths
from pagelet_operator.core.revalidation import (
    BACK_AT,
    MIN_REQUESTS,
    SHIFTED_AT,
    Identity,
    Reason,
    StoredTest,
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
    assert found.message == "prompt lengths are 0.50 from the tested ones, at most 0.33"


def test_a_mix_on_the_border_does_not_turn_the_condition():
    noise = 1.63 / sqrt(4000)
    between = Lengths(prompt=(0, 1000, 1000, 2000), output=FLAT)
    assert BACK_AT + noise < 0.25 < SHIFTED_AT + noise
    for before in (Reason.TRAFFIC, Reason.VALIDATED):
        assert validate(stored(), SERVING, between, before).reason is before


def test_too_few_requests_shift_nothing_and_bring_nothing_back():
    few = Lengths(prompt=(0, 0, 0, MIN_REQUESTS - 1))
    assert validate(stored(), SERVING, few).holds
    assert validate(stored(), SERVING, few, Reason.TRAFFIC).reason is Reason.TRAFFIC


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


def sampled(seed, weights, size):
    """So many requests, each in a bucket drawn by weight."""
    places = Random(seed).choices(range(len(weights)), weights, k=size)
    return tuple(places.count(place) for place in range(len(weights)))


@given(
    st.lists(st.integers(1, 100), min_size=2, max_size=len(BOUNDS) + 1),
    st.integers(MIN_REQUESTS, 1000),
    st.integers(),
)
def test_the_tested_traffic_itself_is_never_called_shifted_whatever_the_sample(mix, size, seed):
    found = sampled(seed, mix, size)
    about, live = stored(tuple(mix), tuple(mix)), Lengths(prompt=found, output=found)
    assert validate(about, SERVING, live).holds
    # Once in 10,000 samples of 200 requests one lies 0.16 away; here 0.31 is allowed.
    assert validate(about, SERVING, live, Reason.TRAFFIC).holds


@pytest.mark.parametrize("size", [MIN_REQUESTS, 1000])
def test_traffic_at_the_very_limit_is_called_shifted_in_one_sample_of_100_at_most(size):
    tested = stored((1, 1, 1, 1), FLAT)
    at_the_limit = (0.25 - SHIFTED_AT / 2, 0.25 - SHIFTED_AT / 2, 0.4, 0.4)
    alarms = [
        validate(tested, SERVING, Lengths(prompt=sampled(seed, at_the_limit, size))).reason
        for seed in range(500)
    ]
    assert alarms.count(Reason.TRAFFIC) <= 5


@given(st.integers(0, 10), st.integers(3, 5), st.integers())
def test_traffic_eight_times_as_long_is_always_called_shifted(first, width, seed):
    mix = [0] * (len(BOUNDS) + 1)
    mix[first : first + width] = [1] * width
    longer = [0, 0, 0, *mix[:-3]]
    live = Lengths(prompt=tuple(mix), output=sampled(seed, longer, MIN_REQUESTS))
    found = validate(stored(tuple(mix), tuple(mix)), SERVING, live)
    assert found.reason is Reason.TRAFFIC
    assert found.message.startswith("output lengths are ")


def test_the_lengths_of_the_revision_s_own_test_are_compared_and_what_was_said_is_kept():
    templates = {"chat-a": OLD}
    result = GateResult(
        status=GateStatus.PASSED, finished_at=1.0, lengths=Lengths(prompt=FLAT, output=FLAT)
    )
    memory = {TEST.key("chat-a", None): result}
    shifted = Lengths(prompt=(0, 0, 0, 900), output=FLAT)
    assert of_stable(memory, "chat-a", templates, shifted).reason is Reason.TRAFFIC
    assert of_stable(memory, "chat-a", templates).holds
    unseen = of_stable(memory, "chat-a", templates, before=Reason.TRAFFIC)
    assert unseen.reason is Reason.TRAFFIC
