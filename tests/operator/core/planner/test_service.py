import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagelet_operator.core.planner.memory import EngineNumbers, plan_memory
from pagelet_operator.core.planner.mix import Mix, of_percentiles
from pagelet_operator.core.planner.service import Replica, Targets
from pagelet_operator.core.planner.step_time import StepTime
from planner_cases import H100, LLAMA_8B, longer, mixes, replica, step_times

MEMORY = plan_memory(LLAMA_8B, EngineNumbers(), H100)
replicas = st.builds(Replica, st.just(MEMORY), step_times(), mixes())
loads = st.floats(1e-3, 64)


@given(replicas, loads, loads)
def test_more_at_once_gives_more_and_makes_all_wait_longer(one, first, second):
    low, high = one.at(min(first, second)), one.at(max(first, second))
    assert low.requests_per_s <= high.requests_per_s * (1 + 1e-9)
    assert low.itl_p99_s <= high.itl_p99_s * (1 + 1e-9)
    assert low.ttft_p99_s <= high.ttft_p99_s * (1 + 1e-9) or high.ttft_p99_s == math.inf


@given(replicas, loads)
def test_percentiles_are_in_order_and_tokens_add_up(one, running):
    given_ = one.at(running)
    assert given_.ttft_p50_s <= given_.ttft_p95_s <= given_.ttft_p99_s
    assert given_.itl_s <= given_.itl_p99_s
    assert given_.output_tokens_per_s <= given_.total_tokens_per_s
    outputs = one.mix.outputs.mean
    assert given_.output_tokens_per_s == pytest.approx(given_.requests_per_s * outputs)


@given(replicas, loads)
def test_running_is_arrivals_times_stay(one, running):
    """Little's law."""
    given_ = one.at(running)
    stay = one.mix.outputs.mean * running / given_.output_tokens_per_s
    assert given_.requests_per_s * stay == pytest.approx(running)


@settings(max_examples=30)
@given(step_times(), mixes(), st.floats(1, 20))
def test_longer_prompts_never_give_more_places_or_more_requests(steps, mix, factor):
    short, long = Replica(MEMORY, steps, mix), Replica(MEMORY, steps, longer(mix, factor))
    assert long.places <= short.places
    for targets in (Targets(), Targets(ttft_p99_s=1.0, itl_p99_s=0.2)):
        most, less = short.most(targets), long.most(targets)
        assert less is None or (
            most is not None and less.requests_per_s <= most.requests_per_s * (1 + 1e-6)
        )


@given(replicas, st.floats(0.01, 100), st.floats(0.001, 10))
def test_the_most_is_within_the_targets_and_nearly_at_them(one, ttft_s, itl_s):
    targets = Targets(ttft_p99_s=ttft_s, itl_p99_s=itl_s)
    found = one.most(targets)
    if found is None:
        idle = one.idle()
        assert idle.ttft_p99_s > ttft_s or idle.itl_p99_s > itl_s
        return
    assert found.ttft_p99_s <= ttft_s
    assert found.itl_p99_s <= itl_s
    assert found.running <= one.places
    above = one.at(found.running * 1.01)
    missed = above.ttft_p99_s > ttft_s or above.itl_p99_s > itl_s
    assert missed or above.running > one.places


@settings(max_examples=40)
@given(replicas, st.floats(0.01, 1))
def test_a_rate_is_met_exactly_or_refused(one, share):
    most = one.at(one.places).requests_per_s
    found = one.at_rate(share * most)
    assert found is not None
    assert found.requests_per_s == pytest.approx(share * most, rel=1e-6)
    assert one.at_rate(most * 1.01) is None


def test_the_cache_bounds_what_runs_where_sequences_do_not():
    assert replica(max_num_seqs=64).places == 64
    few = replica(max_num_seqs=4096)
    held = few.mix.held_tokens + 8
    assert few.places == pytest.approx(0.9 * few.memory.kv_tokens / held)


def test_prompts_faster_than_they_are_computed_have_no_ttft():
    one = replica(max_num_batched_tokens=2048)
    slow = Replica(one.memory, one.steps, longer(one.mix, 1000))
    assert slow.at(64).ttft_p50_s == math.inf
    assert slow.most(Targets()).running < 64


def test_a_rare_chunk_is_not_the_p99_of_itl():
    idle = replica().idle()
    assert idle.itl_p99_s == pytest.approx(replica().steps.base_s, rel=0.01)


ALIKE = Mix(
    prompts=of_percentiles(100, 100, 100, "p"),
    outputs=of_percentiles(50, 50, 50, "o"),
    source="all alike",
)


def alike(budget=2048, **seconds):
    steps = {"base_s": 0.0, "token_s": 0.0, "pair_s": 0.0, "key_s": 0.0} | seconds
    memory = dataclasses.replace(MEMORY, max_num_batched_tokens=budget)
    return Replica(memory, StepTime(**steps, source="by hand"), ALIKE)


def test_latencies_are_those_reckoned_by_hand():
    """10 decodes and 20 prompt tokens a step; a prompt of 100 takes a step beside 10 decodes."""
    found = alike(base_s=0.01, token_s=0.0001).at(10)
    assert found.itl_s == pytest.approx(0.013)
    assert found.requests_per_s == pytest.approx(10 / (0.013 * 50))
    busy = found.requests_per_s * 0.021
    wait = 0.021 / 2 / (1 - busy)
    assert found.ttft_p50_s == pytest.approx(0.0065 + 0.021)
    assert found.ttft_p95_s == pytest.approx(0.013 + 0.021 + wait * math.log(busy / 0.05))
    assert found.ttft_p99_s == pytest.approx(0.013 + 0.021 + wait * math.log(busy / 0.01))
    assert found.itl_p99_s == pytest.approx(0.021)


def test_a_round_of_more_tokens_than_a_step_takes_more_steps():
    found = alike(budget=20, base_s=0.01, token_s=0.0001).at(10)
    assert found.requests_per_s == pytest.approx(10 / ((0.01 + 0.003 + 0.005) * 50))
    assert found.itl_s == pytest.approx(0.018 / 1.5)


def test_attention_looks_back_at_what_is_held():
    """125 tokens behind a decode on average, 50 behind a prompt's token."""
    pairs = 10 * 125 + 20 * 50
    keys = 10 * 125 + 20 * 50 / 2048
    assert alike(pair_s=1e-6).at(10).itl_s == pytest.approx(pairs * 1e-6)
    assert alike(key_s=1e-6).at(10).itl_s == pytest.approx(keys * 1e-6)
