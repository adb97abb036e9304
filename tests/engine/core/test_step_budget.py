"""Steps stay under the target while prompts go on, whatever the machine's step time is like."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagelet_engine.core.block_manager import BlockManager
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.core.scheduler import Scheduler, SchedulerLimits
from pagelet_engine.core.sequence import Sequence
from pagelet_engine.core.step_budget import MIN_PROMPT_TOKENS, PromptBudget
from pagelet_engine.core.step_time import StepSize, StepTimeModel

PROMPT_LEN = 64 * 1024


@given(
    base_s=st.floats(0.002, 0.05),
    token_s=st.floats(1e-6, 2e-4),
    pair_s=st.floats(0.0, 2e-9),
    key_s=st.floats(0.0, 2e-7),
    noise=st.floats(0.0, 0.1),
    seed=st.integers(0, 99),
)
@settings(max_examples=12, deadline=None)
def test_a_very_long_prompt_keeps_p99_itl_under_the_target_and_gets_done(
    base_s: float, token_s: float, pair_s: float, key_s: float, noise: float, seed: int
):
    draw = random.Random(seed)
    idle_s = base_s + 8 * (token_s + key_s * 200)
    # What the target can at least be held with: decodes, the smallest chunk at its end, and noise.
    floor_s = idle_s + MIN_PROMPT_TOKENS * (token_s + pair_s * PROMPT_LEN) + key_s * PROMPT_LEN
    target_s = max(2 * idle_s + 0.010, floor_s * (1 + noise) * 1.25)

    def step_s(size: StepSize) -> float:
        exact = base_s + token_s * size.num_tokens + pair_s * size.pairs + key_s * size.context
        return exact * (1 + noise * draw.uniform(-1, 1))

    gaps = _decode_beside_a_long_prompt(step_s, target_s)
    # The first steps are how the model learns; they are counted like all others.
    assert gaps[int(len(gaps) * 0.99)] <= target_s
    assert len(gaps) < PROMPT_LEN // MIN_PROMPT_TOKENS + 200


@given(
    base_s=st.floats(0.003, 0.02),
    token_s=st.floats(1e-5, 5e-5),
    pair_s=st.floats(0.0, 1.5e-9),
    key_s=st.floats(0.0, 5e-8),
    noise=st.floats(0.0, 0.05),
    seed=st.integers(0, 99),
)
@settings(max_examples=10, deadline=None)
def test_on_a_gpu_p99_itl_beside_a_64k_prompt_is_at_most_twice_idle_and_10_ms(
    base_s: float, token_s: float, pair_s: float, key_s: float, noise: float, seed: int
):
    # Around an 8B model on an H100: 16 GFLOP and 27 us a token, 0.5 MFLOP a pair, 131 KB a key.
    draw = random.Random(seed)

    def step_s(size: StepSize) -> float:
        exact = base_s + token_s * size.num_tokens + pair_s * size.pairs + key_s * size.context
        return exact * (1 + noise * draw.uniform(-1, 1))

    idle_s = base_s + 8 * (token_s + key_s * 200)
    gaps = _decode_beside_a_long_prompt(step_s, 2 * idle_s + 0.010)
    assert gaps[int(len(gaps) * 0.99)] <= 2 * idle_s + 0.010


def _decode_beside_a_long_prompt(
    step_s: Callable[[StepSize], float], target_s: float
) -> list[float]:
    """Let 8 sequences decode until a prompt that comes later is computed; return sorted gaps."""
    limits = SchedulerLimits(
        max_num_seqs=16,
        max_num_batched_tokens=2048,
        max_model_len=2 * PROMPT_LEN,
        target_itl_s=target_s,
    )
    blocks = BlockManager(2 * PROMPT_LEN // 64, 64, caches_prefixes=False)
    scheduler = Scheduler(limits, blocks, frozenset())
    for seq_id in range(8):
        sampling = SamplingParams(max_tokens=PROMPT_LEN // 2)
        assert scheduler.add(Sequence(seq_id, [1] * 200, sampling)) is None
    long = Sequence(9, [1] * PROMPT_LEN, SamplingParams(max_tokens=1))
    gaps: list[float] = []
    for step in range(10_000):
        if step == 50:
            assert scheduler.add(long) is None
        plan = scheduler.schedule()
        size = StepSize()
        for item in plan.scheduled:
            size = size.plus(item.start, item.num_tokens)
        seconds = step_s(size)
        if step > 0:
            assert len(plan.sampling) >= 8, "a decode skipped a step"
            gaps.append(seconds)
        scheduler.update(plan, [1] * len(plan.sampling))
        scheduler.observe(plan, seconds)
        if long.num_output_tokens:
            return sorted(gaps)
    raise AssertionError("the prompt never got done")


def test_a_target_below_what_decoding_takes_stops_no_prompt():
    model = StepTimeModel()
    for _ in range(10):
        model.observe(StepSize(8, 800, 800), 1.0)
    budget = PromptBudget(model, target_s=0.001)
    budget.add(100, 1)
    assert budget.take_chunk(0, 500) == MIN_PROMPT_TOKENS
    assert budget.take_chunk(0, 500) == 0


def test_the_fit_finds_the_parts_of_a_steps_time_through_hiccups():
    model, draw = StepTimeModel(), random.Random(1)
    assert model.predict(StepSize(10, 10, 10)) == 0.0
    for step in range(400):
        size = StepSize().plus(draw.randrange(4000), draw.choice([1, 8, 64, 512]))
        hiccup = 5.0 if step % 50 == 49 else 0.0
        exact = 0.01 + 1e-4 * size.num_tokens + 1e-8 * size.pairs + 2e-6 * size.context
        model.observe(size, exact + hiccup)
    assert model.predict(StepSize(256, 0, 0)) == pytest.approx(0.01 + 256e-4, rel=0.1)
    assert model.predict(StepSize(1, 1_000_000, 0)) == pytest.approx(0.0201, rel=0.1)
    assert model.predict(StepSize(1, 0, 10_000)) == pytest.approx(0.0301, rel=0.1)


def test_chunks_early_in_a_prompt_tell_what_small_ones_at_its_end_cost():
    model = StepTimeModel()

    def exact(size: StepSize) -> float:
        return 0.02 + 1e-3 * size.num_tokens + 5e-8 * size.pairs + 8e-6 * size.context

    for step in range(200):
        decodes = StepSize(8, 8 * (100 + step), 8 * (100 + step))
        for size in (decodes, decodes.plus(32 * (step % 40), 32)):
            model.observe(size, exact(size))
    late = StepSize(8, 2400, 2400).plus(4000, 16)
    assert model.predict(late) == pytest.approx(exact(late), rel=0.05)


def test_hours_of_decoding_do_not_wash_out_what_prompts_cost():
    model, prompt = StepTimeModel(), StepSize().plus(0, 512)
    for _ in range(20):
        model.observe(prompt, 0.5)
    for _ in range(4_000):
        model.observe(StepSize(8, 8000, 8000), 0.01)
    assert model.predict(prompt) == pytest.approx(0.5, rel=0.05)


_SIZES = st.builds(StepSize, st.integers(1, 600), st.integers(1, 10**6), st.integers(1, 10**5))


@given(st.lists(st.tuples(_SIZES, st.floats(1e-4, 2))))
def test_no_history_predicts_less_than_no_time_or_less_for_more(
    steps: list[tuple[StepSize, float]],
):
    model = StepTimeModel()
    for size, seconds in steps:
        model.observe(size, seconds)
    growing = [(1, 1, 1), (100, 1, 1), (100, 5000, 1), (100, 5000, 5000)]
    predicted = [model.predict(StepSize(*size)) for size in growing]
    assert predicted == sorted(predicted)
    assert predicted[0] >= 0
    assert 1.0 <= model.spread <= 3.0
