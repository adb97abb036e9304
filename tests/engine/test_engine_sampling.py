"""Sampling parameters through the whole engine, on a small random model."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine_checkpoints import small_config, weights_for, write_folder
from engine_generation import collect, generate, make_engine
from pagelet_engine.core.finish import ErrorKind, FinishReason
from pagelet_engine.core.logprobs import TokenLogprobs
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.engine import NONE_ALLOWED, NOT_FINITE, Engine
from pagelet_engine.messages import Submit, TokenOutput

VOCAB = 211
ids = st.integers(0, VOCAB - 1)
prompts = st.lists(ids, min_size=1, max_size=24)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    config = small_config()
    tensors = weights_for(config, seed=5)
    return str(write_folder(tmp_path_factory.mktemp("model"), config, tensors))


@pytest.fixture(scope="module")
def engine(model: str) -> Engine:
    return make_engine(model, max_num_seqs=4, max_num_batched_tokens=9)


@pytest.fixture(scope="module")
def lone_engine(model: str) -> Engine:
    return make_engine(model, max_num_seqs=1)


mixes = st.fixed_dictionaries(
    {"max_tokens": st.integers(1, 8), "seed": st.integers(0, 2**40)},
    optional={
        "temperature": st.sampled_from([0.0, 0.5, 1.0, 2.0]),
        "top_p": st.sampled_from([0.3, 0.9]),
        "top_k": st.integers(1, 60),
        "min_p": st.sampled_from([0.01, 0.3]),
        "presence_penalty": st.sampled_from([-2.0, 1.5]),
        "frequency_penalty": st.sampled_from([-1.0, 2.0]),
        "repetition_penalty": st.sampled_from([0.7, 1.3]),
        "logit_bias": st.dictionaries(ids, st.sampled_from([-100.0, 5.0]), max_size=3).map(
            lambda pairs: tuple(pairs.items())
        ),
        "allowed_token_ids": st.lists(ids, min_size=3, max_size=20, unique=True).map(tuple),
        "bad_words": st.lists(st.tuples(ids, ids), max_size=2).map(tuple),
        "stop_token_ids": st.lists(ids, max_size=3).map(tuple),
        "ignore_eos": st.booleans(),
        "logprobs": st.integers(0, 3),
        "prompt_logprobs": st.integers(0, 2),
    },
).map(lambda values: SamplingParams(**values))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(work=st.lists(st.tuples(prompts, mixes), min_size=2, max_size=7))
def test_any_mix_of_parameters_gives_each_sequence_what_it_gets_alone(
    engine: Engine, lone_engine: Engine, work: list[tuple[list[int], SamplingParams]]
):
    alone = [generate(lone_engine, [prompt], params)[0] for prompt, params in work]
    assert all(alone), "none was refused"
    together = generate(engine, [prompt for prompt, _ in work], [params for _, params in work])
    assert together == alone


def outcome(outputs: list[TokenOutput]) -> tuple[list[int], list[TokenLogprobs], FinishReason]:
    tokens = [token for output in outputs for token in output.token_ids]
    scores = [score for output in outputs for score in output.logprobs]
    assert outputs[-1].finish_reason is not None
    return tokens, scores, outputs[-1].finish_reason


def prompt_scores(outputs: list[TokenOutput]) -> list[TokenLogprobs]:
    return [score for output in outputs for score in output.prompt_logprobs]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"max_num_batched_tokens": 3, "max_num_seqs": 3},
        {"kv_cache_bytes": 7 * 16 * 768, "max_model_len": 100},
    ],
)
def test_a_prompt_is_scored_as_it_was_when_it_was_generated(model: str, changes: dict[str, int]):
    engine = make_engine(model, **changes)
    starts = [[5, 9, 33], list(range(20, 44)), [7]]
    asked = SamplingParams(max_tokens=20, seed=3, logprobs=2, ignore_eos=True)
    generated = [outcome(outputs) for outputs in collect(engine, starts, asked)]
    wholes = [start + tokens for start, (tokens, _, _) in zip(starts, generated, strict=True)]
    again = SamplingParams(max_tokens=30, temperature=0.0, prompt_logprobs=2, ignore_eos=True)
    # Twice: what the prefix cache holds by then must not hide any score.
    for _ in range(2):
        for outputs, whole, start, (_, scores, _) in zip(
            collect(engine, wholes, again), wholes, starts, generated, strict=True
        ):
            found = prompt_scores(outputs)
            assert [score.token_id for score in found] == whole[1:]
            for seen, expected in zip(found[len(start) - 1 :], scores, strict=True):
                assert seen.logprob == pytest.approx(expected.logprob, abs=1e-3)
                assert len(seen.top) == 2
    assert engine.stats().num_blocks_used == 0
    assert (engine.stats().num_preemptions > 0) == ("kv_cache_bytes" in changes)


def test_an_answer_ends_no_sooner_than_min_tokens(model: str):
    engine = make_engine(model)
    plain = SamplingParams(max_tokens=6, temperature=0.0, ignore_eos=True)
    first = generate(engine, [[5, 9, 33]], plain)[0][0]
    for min_tokens in (0, 1, 4):
        params = SamplingParams(
            max_tokens=6,
            temperature=0.0,
            ignore_eos=True,
            stop_token_ids=(first,),
            logit_bias=((first, 100.0),),
            min_tokens=min_tokens,
        )
        tokens, _, reason = outcome(collect(engine, [[5, 9, 33]], params)[0])
        assert tokens[-1] == first
        assert first not in tokens[:-1]
        assert (len(tokens), reason) == (min_tokens + 1, FinishReason.STOP)


def test_rules_that_leave_no_token_end_only_their_sequence(model: str):
    engine = make_engine(model)
    greedy = SamplingParams(max_tokens=5, temperature=0.0, ignore_eos=True)
    stuck = SamplingParams(max_tokens=5, allowed_token_ids=(3,), bad_words=((3, 3),))
    alone = generate(engine, [[4, 5]], greedy)[0]
    good, bad = collect(engine, [[4, 5], [4, 5]], [greedy, stuck])
    assert outcome(good)[0] == alone
    assert [(output.token_ids, output.error, output.error_kind) for output in bad] == [
        ([3], None, None),
        ([], NONE_ALLOWED, ErrorKind.INVALID),
    ]


def test_rules_that_leave_no_token_do_not_hide_a_model_that_is_broken(model: str):
    engine = make_engine(model)
    with torch.inference_mode():
        engine._runner._model._embedding[7] = float("nan")  # type: ignore[attr-defined]
    ruled = SamplingParams(max_tokens=5, allowed_token_ids=(3,), min_tokens=2)
    (outputs,) = collect(engine, [[4, 7]], ruled)
    assert [(output.error, output.error_kind) for output in outputs] == [
        (NOT_FINITE, ErrorKind.INTERNAL)
    ]


def test_rules_that_leave_no_first_token_are_refused_before_anything_is_computed(model: str):
    engine = make_engine(model)
    stuck = SamplingParams(max_tokens=5, allowed_token_ids=(3,), bad_words=((3,),))
    refused = engine.add(Submit(1, [4, 5], stuck))
    assert refused is not None
    assert refused.error_kind is ErrorKind.INVALID
    assert not engine.has_work
