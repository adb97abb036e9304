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
from pagelet_engine.core.step_time import StepTimeModel, num_pairs

PROMPT_LEN = 64 * 1024


@given(
    base_s=st.floats(0.002, 0.05),
    token_s=st.floats(1e-6, 2e-4),
    pair_s=st.floats(0.0, 2e-9),
    noise=st.floats(0.0, 0.1),
    seed=st.integers(0, 99),
)
@settings(max_examples=12, deadline=None)
def test_a_very_long_prompt_keeps_p99_itl_under_the_target_and_gets_done(
    base_s: float, token_s: float, pair_s: float, noise: float, seed: int
):
    draw = random.Random(seed)
    idle_s = base_s + 8 * token_s
    # What the target can at least be held with: decodes, the smallest chunk at its end, and noise.
    floor_s = idle_s + MIN_PROMPT_TOKENS * (token_s + pair_s * PROMPT_LEN)
    target_s = max(2 * idle_s + 0.010, floor_s * (1 + noise) * 1.25)

    def step_s(num_tokens: int, pairs: int) -> float:
        exact = base_s + token_s * num_tokens + pair_s * pairs
        return exact * (1 + noise * draw.uniform(-1, 1))

    gaps = _decode_beside_a_long_prompt(step_s, target_s)
    # The first steps are how the model learns; they are counted like all others.
    assert gaps[int(len(gaps) * 0.99)] <= target_s
    assert len(gaps) < PROMPT_LEN // MIN_PROMPT_TOKENS + 200


def _decode_beside_a_long_prompt(
    step_s: Callable[[int, int], float], target_s: float
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
        pairs = sum(num_pairs(item.start, item.num_tokens) for item in plan.scheduled)
        seconds = step_s(plan.num_tokens, pairs)
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
        model.observe(8, 800, 1.0)
    budget = PromptBudget(model, target_s=0.001)
    budget.add(100, 1)
    assert budget.take_chunk(0, 500) == MIN_PROMPT_TOKENS
    assert budget.take_chunk(0, 500) == 0


def test_the_fit_finds_the_parts_of_a_steps_time_through_hiccups():
    model, draw = StepTimeModel(), random.Random(1)
    assert model.predict(10, 10) == 0.0
    for step in range(400):
        num_tokens = draw.choice([1, 8, 64, 512])
        pairs = num_tokens * draw.randrange(1, 4000)
        hiccup = 5.0 if step % 50 == 49 else 0.0
        model.observe(num_tokens, pairs, 0.01 + 1e-4 * num_tokens + 1e-8 * pairs + hiccup)
    assert model.predict(256, 0) == pytest.approx(0.01 + 256e-4, rel=0.1)
    assert model.predict(1, 1_000_000) == pytest.approx(0.0201, rel=0.1)


def test_hours_of_decoding_do_not_wash_out_what_prompts_cost():
    model = StepTimeModel()
    for _ in range(20):
        model.observe(512, 512 * 256, 0.5)
    for _ in range(20_000):
        model.observe(8, 8000, 0.01)
    assert model.predict(512, 512 * 256) == pytest.approx(0.5, rel=0.05)


@given(st.lists(st.tuples(st.integers(1, 600), st.integers(1, 10**6), st.floats(1e-4, 2))))
def test_no_history_predicts_less_than_no_time_or_less_for_more(
    steps: list[tuple[int, int, float]],
):
    model = StepTimeModel()
    for num_tokens, pairs, seconds in steps:
        model.observe(num_tokens, pairs, seconds)
    assert 0 <= model.predict(1, 1) <= model.predict(100, 1) <= model.predict(100, 5000)
    assert 1.0 <= model.spread <= 3.0
