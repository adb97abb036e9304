"""Constraints on the engine: a model without sense still writes what was demanded."""

import asyncio
import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine_generation import make_engine
from pagelet_engine.constraints import spec
from pagelet_engine.constraints.client import ConstraintClient
from pagelet_engine.constraints.masks import DEAD_END, UNREACHABLE
from pagelet_engine.constraints.messages import Vocabulary
from pagelet_engine.core.finish import FinishReason
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.engine import Engine
from pagelet_engine.messages import Submit, TokenOutput

FREE = SamplingParams(max_tokens=40, temperature=0.0, ignore_eos=True)
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 5}, "old": {"type": "boolean"}},
    "required": ["name", "old"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return make_engine("dummy://tiny", max_num_seqs=4, max_num_batched_tokens=32)


def vocabulary(engine: Engine) -> Vocabulary:
    eos = engine.ready.eos_token_ids
    size = engine.ready.vocab_size
    texts = [bytes([i]) if i < 256 else f" t{i}".encode() for i in range(size)]
    return Vocabulary(texts, [], eos)


def run(engine: Engine, submits: list[Submit]) -> dict[int, list[TokenOutput]]:
    outputs: dict[int, list[TokenOutput]] = {submit.seq_id: [] for submit in submits}
    for submit in submits:
        refused = engine.add(submit)
        if refused is not None:
            outputs[submit.seq_id].append(refused)
    while engine.has_work:
        for output in engine.step():
            outputs[output.seq_id].append(output)
    return outputs


def text(engine: Engine, outputs: list[TokenOutput]) -> str:
    words = vocabulary(engine).token_bytes
    ids = [token for output in outputs for token in output.token_ids]
    return b"".join(
        words[token] for token in ids if token not in engine.ready.eos_token_ids
    ).decode()


@settings(max_examples=6, deadline=None)
@given(
    seeds=st.lists(st.integers(0, 2**31), min_size=1, max_size=3),
    schema=st.sampled_from([PERSON, {"type": "array", "items": PERSON, "maxItems": 2}]),
)
def test_random_weights_write_valid_json_and_neighbours_write_as_if_alone(engine, seeds, schema):
    async def check() -> None:
        client = ConstraintClient(lambda: vocabulary(engine))
        try:
            compiled = await client.compile(
                spec.json_schema(schema, param="x"), num_sequences=len(seeds), param="x"
            )
            constrained = [
                Submit(index, [5, 6], SamplingParams(max_tokens=500, seed=seed))
                for index, seed in enumerate(seeds)
            ]
            for index, submit in enumerate(constrained):
                constrained[index] = Submit(
                    submit.seq_id, [5, 6], submit.sampling, constraint=compiled.address
                )
            outputs = run(engine, [*constrained, Submit(99, [7], FREE)])
            compiled.close()
        finally:
            await client.stop()
        for submit in constrained:
            assert outputs[submit.seq_id][-1].finish_reason is FinishReason.STOP
            jsonschema.validate(json.loads(text(engine, outputs[submit.seq_id])), schema)
        alone = run(engine, [Submit(99, [7], FREE)])
        assert [o.token_ids for o in outputs[99]] == [o.token_ids for o in alone[99]]

    asyncio.run(check())


async def test_a_matcher_that_dies_ends_its_sequence_and_no_other(engine):
    client = ConstraintClient(lambda: vocabulary(engine))
    try:
        constraint = spec.regex("[ab]{200}", param="x")
        doomed = await client.compile(constraint, num_sequences=1, param="x")
        other = await client.compile(constraint, num_sequences=1, param="x")
        sampling = SamplingParams(max_tokens=300)
        assert engine.add(Submit(1, [5], sampling, constraint=doomed.address)) is None
        assert engine.add(Submit(2, [5], sampling, constraint=other.address)) is None
        outputs: dict[int, list[TokenOutput]] = {1: [], 2: []}
        steps = 0
        while engine.has_work:
            for output in engine.step():
                outputs[output.seq_id].append(output)
            steps += 1
            if steps == 20:
                doomed.close()
            await asyncio.sleep(0)
        assert outputs[1][-1].finish_reason is FinishReason.ERROR
        assert "constraint" in str(outputs[1][-1].error)
        assert outputs[2][-1].finish_reason is FinishReason.STOP
        assert len(text(engine, outputs[2])) == 200
        assert engine.stats().num_blocks_used == 0
    finally:
        await client.stop()


def test_a_matcher_that_is_not_there_is_refused_at_once(engine):
    refused = engine.add(Submit(5, [5], FREE, constraint="/nowhere/to/be/found"))
    assert refused is not None
    assert (refused.finish_reason, refused.error) == (FinishReason.ERROR, UNREACHABLE)
    assert not engine.has_work
    assert engine.add(Submit(5, [5], FREE)) is None
    engine.abort(5)


async def test_an_output_that_cannot_go_on_says_so(engine):
    client = ConstraintClient(lambda: vocabulary(engine))
    try:
        compiled = await client.compile(spec.regex("a", param="x"), num_sequences=1, param="x")
        sampling = SamplingParams(max_tokens=9, allowed_token_ids=(98,))
        outputs = run(engine, [Submit(1, [5], sampling, constraint=compiled.address)])
        assert outputs[1][-1].finish_reason is FinishReason.ERROR
        assert outputs[1][-1].error == DEAD_END
    finally:
        await client.stop()
