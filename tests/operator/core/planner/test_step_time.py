import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.planner.errors import PlanError
from pagelet_operator.core.planner.memory import EngineNumbers, plan_memory
from pagelet_operator.core.planner.step_time import (
    FLOPS_SHARE,
    GPU_OVERHEAD_S,
    READ_SHARE,
    MeasuredRun,
    StepTime,
    from_data_sheet,
    from_run,
)
from planner_cases import CPU, H100, LLAMA_8B, SMOLLM2, step_times

MEMORY = plan_memory(LLAMA_8B, EngineNumbers(), H100)
ON_CPU = plan_memory(SMOLLM2, EngineNumbers(), CPU)


def run(**parts):
    given = {"prompt_tokens": 128, "output_tokens": 128, "ttft_s": 0.184, "itl_s": 0.0355}
    return MeasuredRun(**(given | parts), source="run.json")


def test_a_step_of_one_token_reads_the_weights():
    steps = from_data_sheet(LLAMA_8B, MEMORY, H100)
    read_s = 2 * LLAMA_8B.num_multiplied / (3350e9 * READ_SHARE)
    assert steps.base_s == pytest.approx(read_s + GPU_OVERHEAD_S)
    assert steps.seconds(1, 0, 0) == pytest.approx(steps.base_s + steps.token_s)


def test_what_has_no_data_sheet_has_no_speed():
    assert from_data_sheet(SMOLLM2, ON_CPU, CPU) is None


@given(step_times(), st.integers(1, 5000), st.integers(1, 5000))
def test_a_prompt_takes_the_sum_of_its_steps(steps, num_tokens, chunk):
    took, done = 0.0, 0
    while done < num_tokens:
        size = min(chunk, num_tokens - done)
        pairs = size * done + size * (size + 1) / 2
        took += steps.seconds(size, pairs, done + size)
        done += size
    one_chunk = steps.seconds(chunk, chunk * num_tokens, 2 * num_tokens)
    assert abs(steps.prompt_seconds(num_tokens, chunk) - took) <= one_chunk


@given(st.floats(1e-3, 0.5), st.floats(1.5, 50), st.integers(64, 512))
def test_a_run_is_explained_by_what_is_made_of_it(itl_s, ratio, prompt):
    measured = run(itl_s=itl_s, ttft_s=itl_s * ratio, prompt_tokens=prompt)
    try:
        steps = from_run(SMOLLM2, ON_CPU, measured)
    except PlanError:
        return
    context = prompt + 128 / 2
    assert steps.seconds(1, context, context) == pytest.approx(itl_s)
    whole = steps.seconds(prompt, prompt * prompt / 2, prompt)
    assert whole == pytest.approx(measured.ttft_s)


def test_the_measured_machine_reads_and_multiplies_at_a_plausible_speed():
    steps = from_run(SMOLLM2, ON_CPU, run())
    assert 10e9 < ON_CPU.token_bytes / steps.key_s < 40e9
    assert 100e9 < 2 * SMOLLM2.num_multiplied / steps.token_s < 400e9


@pytest.mark.parametrize(
    "impossible", [{"ttft_s": 0.01}, {"ttft_s": 1e9}, {"prompt_tokens": 1, "output_tokens": 1e-9}]
)
def test_a_run_that_no_device_gives_is_refused(impossible):
    with pytest.raises(PlanError, match=r"--measured run\.json: a TTFT of"):
        from_run(SMOLLM2, ON_CPU, run(**impossible))


@given(step_times(), *[st.floats(0, 1e5)] * 6)
def test_more_work_never_takes_less(steps, tokens, pairs, keys, more, most, others):
    larger = steps.seconds(tokens + more, pairs + most, keys + others)
    assert larger >= steps.seconds(tokens, pairs, keys)
    assert dataclasses.replace(steps, base_s=0.0).seconds(0, 0, 0) == 0


def test_a_pair_costs_two_products_per_head_and_layer():
    steps = from_data_sheet(LLAMA_8B, MEMORY, H100)
    assert steps.pair_s == pytest.approx(2 * 2 * 32 * 32 * 128 / (989e12 * FLOPS_SHARE))


def test_chunks_look_back_at_all_that_came_before():
    keys = StepTime(base_s=0, token_s=0, pair_s=0, key_s=1, source="by hand")
    assert keys.prompt_seconds(1000, 100) == sum(range(100, 1001, 100))
