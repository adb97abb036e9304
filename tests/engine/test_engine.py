"""The engine on a small random model: neighbours never matter, failures stay where they belong."""

import pytest
import torch

from engine_checkpoints import small_config, weights_for, write_folder
from engine_generation import collect, generate, make_engine
from pagelet_engine.core.finish import FinishReason
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.engine import NOT_FINITE
from pagelet_engine.messages import Submit

POISON = 200
GREEDY = SamplingParams(max_tokens=12, temperature=0.0, ignore_eos=True)
PROMPTS = [[5, 9, 33, 2], [80] * 17, [1], list(range(10, 60))]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    config = small_config()
    tensors = weights_for(config, seed=3)
    return str(write_folder(tmp_path_factory.mktemp("model"), config, tensors))


def test_a_sequence_that_overflows_ends_alone_and_its_blocks_harm_nobody(model: str):
    healthy = [generate(make_engine(model), [prompt], GREEDY)[0] for prompt in PROMPTS]
    engine = make_engine(model, kv_cache_bytes=8 * 16 * 768, max_model_len=100)
    with torch.inference_mode():  # overflows on one token and works on all others
        engine._runner._model._embedding[POISON] = float("nan")  # type: ignore[attr-defined]
    poisoned = [[4, POISON, 6], [POISON], [7] * 20 + [POISON]]
    for _ in range(3):  # again and again, so that blocks of the poisoned are handed on
        outputs = collect(engine, [*PROMPTS, *poisoned], GREEDY)
        assert [[t for o in seq for t in o.token_ids] for seq in outputs[:4]] == healthy
        for seq in outputs[4:]:
            assert [(o.token_ids, o.finish_reason, o.error) for o in seq] == [
                ([], FinishReason.ERROR, NOT_FINITE)
            ]
    assert engine.stats().num_blocks_used == 0


def test_the_same_seed_gives_the_same_tokens_alone_and_batched(model: str):
    sampling = [
        SamplingParams(max_tokens=15, temperature=1.0, top_p=0.9, top_k=50, seed=seed)
        for seed in (1, 2, -3, 2**62)
    ]
    alone = [
        generate(make_engine(model), [prompt], params)[0]
        for prompt, params in zip(PROMPTS, sampling, strict=True)
    ]
    engine = make_engine(model, max_num_seqs=4, max_num_batched_tokens=5)
    assert generate(engine, PROMPTS, sampling) == alone


def test_sequences_without_a_seed_differ_from_each_other(model: str):
    outputs = generate(make_engine(model), [[3, 4]] * 3, SamplingParams(max_tokens=12))
    assert len({tuple(tokens) for tokens in outputs}) == 3


def test_aborting_at_any_step_leaves_the_others_output_and_the_pool_whole(model: str):
    expected = generate(make_engine(model), PROMPTS, GREEDY)
    for steps in range(0, 14, 2):
        engine = make_engine(model, max_num_seqs=3, max_num_batched_tokens=16)
        outputs: dict[int, list[int]] = {index: [] for index in range(len(PROMPTS))}
        for index, prompt in enumerate(PROMPTS):
            assert engine.add(Submit(index, prompt, GREEDY)) is None
        num_steps = 0
        while engine.has_work:
            if num_steps == steps:
                engine.abort(1)
                engine.abort(99)
            for output in engine.step():
                outputs[output.seq_id] += output.token_ids
            num_steps += 1
        for index in (0, 2, 3):
            assert outputs[index] == expected[index]
        assert outputs[1] == expected[1][: len(outputs[1])]
        assert engine.stats().num_blocks_used == 0


@pytest.mark.parametrize(
    ("prompt", "changes", "says"),
    [
        ([], {}, "empty"),
        ([211], {}, "outside"),
        ([-1], {}, "outside"),
        ([1] * 256, {}, "256 tokens"),
        ([1], {"max_tokens": 0}, "max_tokens"),
        ([1], {"temperature": 9.0}, "temperature"),
        ([1], {"stop_token_ids": (999,)}, "stop_token_ids"),
    ],
)
def test_what_can_never_run_is_refused_at_once(
    model: str, prompt: list[int], changes: dict[str, object], says: str
):
    engine = make_engine(model)
    params = SamplingParams(**{"max_tokens": 4, **changes})  # type: ignore[arg-type]
    refused = engine.add(Submit(1, prompt, params))
    assert refused is not None
    assert refused.finish_reason is FinishReason.ERROR
    assert says in str(refused.error)
    assert not engine.has_work


def test_an_id_in_use_is_refused_without_touching_its_owner(model: str):
    engine = make_engine(model)
    assert engine.add(Submit(1, [5], GREEDY)) is None
    assert engine.add(Submit(1, [6], GREEDY)) is not None
    num_tokens = 0
    while engine.has_work:
        num_tokens += sum(len(output.token_ids) for output in engine.step())
    assert num_tokens == GREEDY.max_tokens


def test_sequences_end_for_the_reason_given(model: str):
    free = generate(make_engine(model), [[5, 9, 33, 2]], GREEDY)[0]
    stop = free[3]
    assert stop not in free[:3]
    sampling = SamplingParams(
        max_tokens=12, temperature=0.0, ignore_eos=True, stop_token_ids=(stop,)
    )
    outputs = collect(make_engine(model), [[5, 9, 33, 2]], sampling)[0]
    assert [o.token_ids[0] for o in outputs] == free[:4]
    assert [o.finish_reason for o in outputs] == [None, None, None, FinishReason.STOP]

    outputs = collect(make_engine(model, max_model_len=7), [[5, 9, 33, 2]], GREEDY)[0]
    assert [o.finish_reason for o in outputs] == [None, None, FinishReason.LENGTH]


def test_the_figures_add_up(model: str):
    engine = make_engine(model)
    generate(engine, PROMPTS, GREEDY)
    stats = engine.stats()
    assert stats.num_prompt_tokens == sum(len(prompt) for prompt in PROMPTS)
    assert stats.num_output_tokens == GREEDY.max_tokens * len(PROMPTS)
    assert (stats.num_running, stats.num_waiting, stats.kv_slots_used) == (0, 0, 0)
    assert stats.num_blocks_total == engine.ready.num_blocks
    assert stats.last_step_tokens == len(PROMPTS)
    assert stats.last_step_seconds > 0
