"""A request is good if it met every limit, and only then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_bench.core.errors import UsageError
from pagelet_bench.core.goodput import Slo, goodput, misses
from pagelet_bench.core.result import Outcome, RequestResult


def result(ttft_s=0.1, gaps=(0.01,), outcome=Outcome.OK, late_s=0.0, after_s=0.0):
    times = [10.0 + ttft_s]
    for gap in gaps:
        times.append(times[-1] + gap)
    return RequestResult(
        index=0,
        outcome=outcome,
        detail="",
        late_s=late_s,
        started_s=10.0,
        ended_s=times[-1] + after_s,
        token_times_s=tuple(times),
        prompt_tokens=5,
        output_tokens=len(times),
        requested_tokens=len(times),
    )


def test_each_limit_is_missed_by_its_own_name():
    slo = Slo(ttft_s=0.2, itl_s=0.05, e2e_s=1.0)
    assert misses(slo, result()) == ()
    assert misses(slo, result(ttft_s=0.3)) == ("ttft",)
    assert misses(slo, result(gaps=(0.1,))) == ("itl",)
    assert misses(slo, result(after_s=2.0)) == ("e2e",)
    assert misses(slo, result(outcome=Outcome.CUT)) == ("failed",)


def test_one_late_packet_in_twenty_is_no_bad_answer_and_two_are():
    slo = Slo(itl_s=0.05)
    assert misses(slo, result(gaps=(0.01,) * 19 + (0.5,))) == ()
    assert misses(slo, result(gaps=(0.01,) * 18 + (0.5, 0.5))) == ("itl",)


def test_time_that_the_generator_lost_is_the_users_time():
    assert misses(Slo(ttft_s=0.2), result(late_s=0.5)) == ("ttft",)


def test_what_was_not_finished_is_not_good():
    found = goodput(Slo(ttft_s=1.0), [result()] * 3, planned=4, duration_s=2.0)
    assert (found.good, found.share, found.per_s) == (3, 0.75, 1.5)
    assert not found.is_met


@given(st.lists(st.tuples(st.floats(0.001, 2), st.sampled_from(Outcome)), max_size=30))
def test_good_and_missed_add_up(drawn):
    results = [result(ttft_s=ttft, outcome=outcome) for ttft, outcome in drawn]
    found = goodput(Slo(ttft_s=1.0), results, planned=len(results), duration_s=10.0)
    assert found.good + sum(found.missed.values()) == len(results)
    assert 0 <= found.share <= 1


@given(st.lists(st.floats(0.001, 2), min_size=1), st.floats(0.01, 2), st.floats(0.01, 2))
def test_a_stricter_limit_never_makes_more_requests_good(times, one, other):
    results = [result(ttft_s=ttft) for ttft in times]
    strict, loose = (
        goodput(Slo(ttft_s=limit), results, planned=len(results), duration_s=1.0).good
        for limit in sorted((one, other))
    )
    assert strict <= loose


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "there is no limit"),
        ({"ttft_s": 0.0}, "slo-ttft is 0"),
        ({"itl_s": -1.0}, "slo-itl is -1"),
        ({"e2e_s": float("nan")}, "slo-e2e is nan"),
        ({"ttft_s": 1.0, "share": 0.0}, "slo-share is 0"),
        ({"ttft_s": 1.0, "share": 1.1}, "slo-share is 1.1"),
    ],
)
def test_a_limit_that_is_none_is_refused_by_its_option(fields, said):
    with pytest.raises(UsageError, match=said):
        Slo(**fields)
