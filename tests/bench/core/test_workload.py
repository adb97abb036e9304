"""What a profile asks for is what is sent."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_bench.core.errors import UsageError
from pagelet_bench.core.lengths import Lognormal
from pagelet_bench.core.trace import TraceRow
from pagelet_bench.core.workload import (
    FIRST_TOKEN_ID,
    PlannedRequest,
    Profile,
    fitted,
    plan,
)

ANY = Lognormal(mu=3.0, sigma=1.0, low=1, high=200)


def profile(**changes: object) -> Profile:
    given_fields = {"requests": 5, "concurrency": 2} | changes
    return Profile(**{"name": "t", "prompts": ANY, "outputs": ANY, **given_fields})


@given(
    st.floats(-5, 20), st.floats(0, 5), st.integers(1, 500), st.integers(0, 500), st.floats(-9, 9)
)
def test_lengths_stay_within_their_bounds(mu, sigma, low, extra, z):
    length = Lognormal(mu=mu, sigma=sigma, low=low, high=low + extra).at(z)
    assert low <= length <= low + extra


@given(st.floats(-9, 9), st.floats(-9, 9))
def test_a_larger_draw_is_never_a_shorter_length(one, other):
    small, large = sorted((one, other))
    assert ANY.at(small) <= ANY.at(large)


def test_the_median_length_is_e_to_the_mu():
    lengths = Lognormal(mu=4.8, sigma=0.9, low=1, high=100_000)
    assert lengths.at(0.0) == round(math.exp(4.8))
    assert lengths.at(1.0) == round(math.exp(5.7))


@given(st.integers(0, 2**64), st.integers(1, 30), st.integers(0, 10))
def test_a_longer_run_starts_with_the_requests_of_a_shorter_one(seed, requests, more):
    short = plan(profile(seed=seed, requests=requests), vocab_size=1000)
    long = plan(profile(seed=seed, requests=requests + more), vocab_size=1000)
    assert long[:requests] == short
    assert [request.index for request in long] == list(range(requests + more))


@given(st.integers(0, 1000), st.integers(FIRST_TOKEN_ID + 1, 10**6))
def test_ids_are_of_the_vocabulary_and_lengths_do_not_depend_on_it(seed, vocab_size):
    planned = plan(profile(seed=seed), vocab_size=vocab_size)
    other = plan(profile(seed=seed), vocab_size=5000)
    for request, twin in zip(planned, other, strict=True):
        assert all(FIRST_TOKEN_ID <= token < vocab_size for token in request.prompt_token_ids)
        assert len(request.prompt_token_ids) == len(twin.prompt_token_ids)
        assert request.output_tokens == twin.output_tokens


def test_prompts_share_no_prefix():
    planned = plan(profile(requests=200), vocab_size=32_000)
    heads = {request.prompt_token_ids[:3] for request in planned}
    assert len(heads) == 200


def test_prompt_and_output_lengths_are_drawn_apart():
    planned = plan(profile(requests=300), vocab_size=1000)
    prompts = [len(request.prompt_token_ids) for request in planned]
    outputs = [request.output_tokens for request in planned]
    assert abs(statistics.correlation(prompts, outputs)) < 0.2


def test_a_closed_loop_sends_at_once():
    assert {request.due_s for request in plan(profile(), vocab_size=1000)} == {0.0}


def test_an_open_loop_arrives_at_its_rate():
    planned = plan(profile(requests=5000, concurrency=None, rate_per_s=20.0), vocab_size=300)
    dues = [request.due_s for request in planned]
    assert dues[0] == 0.0
    assert dues == sorted(dues)
    assert dues[-1] / 4999 == pytest.approx(1 / 20, rel=0.05)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"requests": 0}, "requests is 0"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"concurrency": None}, "either a concurrency or a rate"),
        ({"rate_per_s": 1.0}, "either a concurrency or a rate"),
        ({"concurrency": None, "rate_per_s": 0.0}, "rate is 0.0"),
        ({"concurrency": None, "rate_per_s": math.inf}, "rate is inf"),
        ({"concurrency": None, "rate_per_s": math.nan}, "rate is nan"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_its_value(changes, told):
    with pytest.raises(UsageError, match=told):
        profile(**changes)


@pytest.mark.parametrize(("low", "high"), [(0, 5), (6, 5)])
def test_empty_bounds_are_refused(low, high):
    with pytest.raises(UsageError, match=f"{low}..{high}"):
        Lognormal(mu=1, sigma=1, low=low, high=high)


def test_a_negative_spread_is_refused():
    with pytest.raises(UsageError, match="sigma is -1"):
        Lognormal(mu=1, sigma=-1, low=1, high=2)


def test_a_vocabulary_of_special_tokens_only_is_refused():
    with pytest.raises(UsageError, match="vocabulary size is 256"):
        plan(profile(), vocab_size=FIRST_TOKEN_ID)


def test_a_short_context_shortens_prompts_before_outputs():
    long = PlannedRequest(0, 0.0, tuple(range(256, 1256)), 100)
    (fits,) = fitted([long], 300)
    assert (len(fits.prompt_token_ids), fits.output_tokens) == (200, 100)
    (tiny,) = fitted([long], 64)
    assert len(tiny.prompt_token_ids) + tiny.output_tokens <= 64
    assert fitted([long], None) == fitted([long], 5000) == (long,)


def test_conversations_begin_with_one_of_the_shared_prefixes():
    planned = plan(profile(requests=40, turns=2, prefix_tokens=6, prefix_groups=3), vocab_size=999)
    firsts = {request.prompt_token_ids[:6] for request in planned if request.turn == 0}
    assert len(firsts) == 3
    without = plan(profile(requests=40, turns=2), vocab_size=999)
    for request, bare in zip(planned, without, strict=True):
        expected = 6 * (request.turn == 0) + len(bare.prompt_token_ids)
        assert len(request.prompt_token_ids) == expected


@given(st.integers(1, 30), st.integers(1, 6))
def test_turns_of_a_conversation_are_neighbours_and_complete_but_for_the_last(requests, turns):
    planned = plan(profile(requests=requests, turns=turns), vocab_size=999)
    assert [request.index for request in planned] == list(range(requests))
    assert [(r.conversation, r.turn) for r in planned] == [
        divmod(index, turns) for index in range(requests)
    ]


def test_an_open_loop_plans_arrivals_of_conversations():
    planned = plan(profile(concurrency=None, rate_per_s=2.0, requests=9, turns=3), vocab_size=999)
    due = [request.due_s for request in planned if request.turn == 0]
    assert due == sorted(due)
    assert due[0] == 0.0 < due[1]
    assert all(request.due_s == 0.0 for request in planned if request.turn)


def test_a_trace_is_replayed_as_it_came_and_by_a_rate_in_its_order():
    rows = (TraceRow(5, 7, 0.0), TraceRow(6, 8, 3.5))
    replayed = plan(profile(trace=rows, requests=2, concurrency=None), vocab_size=999)
    assert [(len(r.prompt_token_ids), r.output_tokens, r.due_s) for r in replayed] == [
        (5, 7, 0.0),
        (6, 8, 3.5),
    ]
    again = plan(profile(trace=rows, requests=4), vocab_size=999)
    assert [request.output_tokens for request in again] == [7, 8, 7, 8]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"turns": 0}, "turns is 0"),
        ({"prefix_groups": 0}, "prefix_groups is 0"),
        ({"prefix_tokens": -1}, "prefix_tokens is -1"),
        ({"think_s": -0.5}, "think_s is -0.5"),
        ({"concurrency": None, "trace": (TraceRow(1, 1),)}, "no column of times"),
        ({"concurrency": None, "trace": (TraceRow(1, 1, 0.0),)}, "has 1 requests"),
    ],
)
def test_what_cannot_be_planned_is_named(fields, said):
    with pytest.raises(UsageError, match=said):
        profile(**fields)
