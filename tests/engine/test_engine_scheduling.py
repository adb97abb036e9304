"""Prefix cache, deadlines and admission on a small random model, through the engine."""

import pytest
import torch

from engine_checkpoints import small_config, weights_for, write_folder
from engine_generation import collect, generate, make_engine
from pagelet_engine.core.finish import ErrorKind, FinishReason
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.engine import DEADLINE_PASSED, QUEUE_TIMEOUT, Engine
from pagelet_engine.messages import Submit, TokenOutput

POISON = 200
GREEDY = SamplingParams(max_tokens=8, temperature=0.0, ignore_eos=True)
SYSTEM = [40 + n % 60 for n in range(50)]
PROMPTS = [[*SYSTEM, 9, 33, 2], [*SYSTEM, 9, 33, 2], [*SYSTEM, 7], SYSTEM[:48], [3, 4]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    config = small_config()
    tensors = weights_for(config, seed=3)
    return str(write_folder(tmp_path_factory.mktemp("model"), config, tensors))


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.25  # each look at it; a step looks twice
        return self.now


def _timed(model: str, **changes: object) -> tuple[Engine, _Clock]:
    engine, clock = make_engine(model, **changes), _Clock()
    engine._clock = clock
    return engine, clock


def test_hits_change_no_output(model: str):
    off = make_engine(model, prefix_caching=False)
    expected = generate(off, PROMPTS, GREEDY)
    assert off.stats().num_prefix_hit_tokens == 0
    engine = make_engine(model, max_num_batched_tokens=64)
    for expected_hits in ([0, 48, 48, 32, 0], [48, 48, 48, 32, 0]):
        outputs = collect(engine, PROMPTS, GREEDY)
        assert [[t for o in seq for t in o.token_ids] for seq in outputs] == expected
        assert [{o.num_cached_tokens for o in seq} for seq in outputs] == [
            {hits} for hits in expected_hits
        ]
    stats = engine.stats()
    assert stats.num_prefix_query_tokens == 2 * sum(map(len, PROMPTS))
    assert stats.num_prefix_hit_tokens == 128 + 176
    assert stats.num_blocks_used == stats.kv_slots_used == 0


def test_no_hit_across_salts(model: str):
    engine = make_engine(model)
    for salt, expected in ((b"a", 0), (b"b", 0), (b"a", 48)):
        assert engine.add(Submit(1, PROMPTS[0], GREEDY, cache_salt=salt)) is None
        assert {output.num_cached_tokens for output in _drain(engine)} == {expected}


def test_blocks_that_are_not_finite_are_not_kept_and_harm_nobody(model: str):
    engine = make_engine(model, kv_cache_bytes=8 * 16 * 768, max_model_len=100)
    with torch.inference_mode():
        engine._runner._model._embedding[POISON] = float("nan")  # type: ignore[attr-defined]
    poisoned = [*SYSTEM[:20], POISON, *SYSTEM[:20]]
    healthy = generate(make_engine(model, prefix_caching=False), [PROMPTS[0]], GREEDY)[0]
    for _ in range(2):
        outputs = collect(engine, [poisoned, PROMPTS[0]], GREEDY)
        assert [o.error_kind for o in outputs[0]] == [ErrorKind.INTERNAL]
        assert [t for o in outputs[1] for t in o.token_ids] == healthy
    assert engine.add(Submit(1, poisoned, GREEDY)) is None
    engine.abort(1)
    assert engine.stats().num_blocks_used == 0


def test_slots_of_shared_blocks_count_once(model: str):
    engine = make_engine(model)
    for seq_id in range(3):
        assert engine.add(Submit(seq_id, [*SYSTEM, seq_id], GREEDY)) is None
    engine.step()
    engine.step()
    stats = engine.stats()
    assert stats.num_blocks_used == 3 + 3
    assert stats.kv_slots_used == 48 + 3 * 3 + 1  # the first has decoded one more


def test_a_deadline_ends_a_sequence_within_a_step_wherever_it_is(model: str):
    engine, clock = _timed(model, max_num_seqs=2, max_num_batched_tokens=8)
    endless = SamplingParams(max_tokens=200, temperature=0.0, ignore_eos=True)
    for seq_id, prompt in enumerate(([5], SYSTEM, [6])):  # decoding, in its prompt, queued
        assert engine.add(Submit(seq_id, prompt, endless, deadline_s=3.0)) is None
    engine.step()
    assert (engine.stats().num_running, engine.stats().num_waiting) == (2, 1)
    ends: list[TokenOutput] = []
    while engine.has_work:
        before = clock.now
        ends += [output for output in engine.step() if output.finish_reason is not None]
    assert before < 4.5
    assert {(o.finish_reason, o.error_kind, o.error) for o in ends} == {
        (FinishReason.ERROR, ErrorKind.TIMEOUT, DEADLINE_PASSED)
    }
    assert sorted(output.seq_id for output in ends) == [0, 1, 2]
    assert engine.stats().num_blocks_used == 0
    assert engine.stats().num_expired == 3
    late = engine.add(Submit(9, [5], GREEDY, deadline_s=0.0))
    assert late is not None
    assert late.error_kind is ErrorKind.TIMEOUT


def test_who_waits_too_long_or_brings_too_much_is_told_when_to_return(model: str):
    engine, _ = _timed(model, max_num_seqs=1, queue_timeout_s=2.0, max_queued_tokens=60)
    endless = SamplingParams(max_tokens=60, temperature=0.0, ignore_eos=True)
    assert engine.add(Submit(1, [5], endless)) is None
    engine.step()
    assert engine.add(Submit(2, SYSTEM, GREEDY)) is None
    full = engine.add(Submit(3, [7] * 20, GREEDY))
    assert full is not None
    assert full.error_kind is ErrorKind.OVERLOADED
    assert (full.retry_after_s or 0.0) >= 1.0
    outputs = _drain(engine)
    timed_out = [output for output in outputs if output.seq_id == 2]
    assert [(o.error, o.error_kind) for o in timed_out] == [(QUEUE_TIMEOUT, ErrorKind.OVERLOADED)]
    assert outputs[-1].finish_reason is FinishReason.LENGTH


def test_the_wait_for_the_first_step_is_told_once_with_the_first_token(model: str):
    engine, _ = _timed(model, max_num_seqs=1, max_num_batched_tokens=8)
    assert engine.add(Submit(1, SYSTEM, GREEDY)) is None
    assert engine.add(Submit(2, [5], GREEDY)) is None
    outputs = _drain(engine)
    steps_before = GREEDY.max_tokens * 0.5  # seconds of the first's steps, at least
    for seq_id, least, most in ((1, 0.0, 2.0), (2, steps_before, 4 * steps_before)):
        waits = [output.queue_s for output in outputs if output.seq_id == seq_id]
        assert waits[0] is not None
        assert waits[1:] == [None] * (GREEDY.max_tokens - 1)
        assert least < waits[0] < most
    for seq_id in (3, 4):
        assert engine.add(Submit(seq_id, [5], GREEDY)) is None
    engine.step()
    engine.abort(3)
    engine.abort(4)
    assert engine._queued_since == engine._queue_s == {}


def test_queue_time_outs_are_counted_apart(model: str):
    engine, _ = _timed(model, max_num_seqs=1, queue_timeout_s=2.0)
    assert engine.add(Submit(1, [5], GREEDY)) is None
    engine.step()
    assert engine.add(Submit(2, [5], GREEDY)) is None
    _drain(engine)
    assert (engine.stats().num_expired, engine.stats().num_queue_timeouts) == (1, 1)
    assert engine.add(Submit(3, [5], GREEDY, deadline_s=1.0)) is None
    _drain(engine)
    assert (engine.stats().num_expired, engine.stats().num_queue_timeouts) == (2, 1)


def test_an_invalid_weight_is_refused_and_divides_nothing(model: str):
    engine = make_engine(model)
    for weight in (0.0, -1.0, float("nan"), float("inf")):
        refused = engine.add(Submit(1, [5], GREEDY, weight=weight))
        assert refused is not None
        assert refused.error_kind is ErrorKind.INVALID


def _drain(engine: Engine) -> list[TokenOutput]:
    outputs: list[TokenOutput] = []
    while engine.has_work:
        outputs += engine.step()
    return outputs


def test_a_thousand_that_leave_free_their_blocks_before_the_next_step(model: str):
    """Queued, in their prompts, decoding or held: what each held is free at once."""
    engine = make_engine(model, max_num_seqs=8, max_num_batched_tokens=16)
    endless = SamplingParams(max_tokens=60, temperature=0.0, ignore_eos=True)
    for wave in range(50):
        ids = range(20 * wave, 20 * wave + 20)
        for seq_id in ids:
            prompt = [3 + (seq_id * 7 + n) % 90 for n in range(1 + seq_id % 5 * 10)]
            assert engine.add(Submit(seq_id, prompt, endless)) is None
        for _ in range(wave % 4):
            engine.step()
        engine.hold(ids[wave % 3], is_held=True)
        num_steps = engine.stats().num_steps
        for seq_id in ids:
            engine.abort(seq_id)
        stats = engine.stats()
        assert stats.num_steps == num_steps
        assert (stats.num_blocks_used, stats.num_running, stats.num_waiting) == (0, 0, 0)
        assert not engine.has_work
    assert not engine._seqs
    # Rows of the runner's tables too: as many as ever can run.
    assert len(generate(engine, [[n] for n in range(3, 11)], GREEDY)) == 8
