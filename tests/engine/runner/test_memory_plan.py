"""What was left open becomes a number; what cannot work becomes a sentence with the remedy."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine_checkpoints import small_config
from pagelet_engine.config import EngineConfig
from pagelet_engine.errors import ConfigError
from pagelet_engine.runner.hardware import Hardware
from pagelet_engine.runner.memory_plan import resolve

MODEL = small_config()
TOKEN_BYTES = 2 * 3 * 2 * 16 * 4
GIB = 2**30


def _cpu(memory_bytes: int = 4 * GIB) -> Hardware:
    return Hardware(device="cpu", memory_bytes=memory_bytes, num_cores=3, has_fast_bfloat16=False)


def _gpu(memory_bytes: int = 8 * GIB) -> Hardware:
    return Hardware(device="cuda", memory_bytes=memory_bytes, num_cores=8, has_fast_bfloat16=True)


def test_a_cpu_gets_float32_room_for_average_turns_and_all_its_cores():
    plan = resolve(EngineConfig(model="m", max_num_seqs=10), MODEL, _cpu())
    assert (plan.device, plan.dtype, plan.num_threads) == ("cpu", "float32", 3)
    assert plan.max_model_len == MODEL.max_position_embeddings
    assert plan.num_blocks * plan.block_size == 10 * MODEL.max_position_embeddings
    assert plan.kv_cache_bytes == plan.num_blocks * plan.block_size * TOKEN_BYTES
    assert plan.max_num_batched_tokens == 512


def test_a_gpu_gets_bfloat16_and_what_the_fraction_leaves():
    plan = resolve(EngineConfig(model="m", gpu_memory_fraction=0.5), MODEL, _gpu())
    assert (plan.dtype, plan.max_num_batched_tokens) == ("bfloat16", 2048)
    assert 0.9 * 4 * GIB < plan.kv_cache_bytes < 4 * GIB


def test_a_given_size_is_kept_to_the_block():
    size = 20 * 16 * TOKEN_BYTES + 5
    plan = resolve(EngineConfig(model="m", kv_cache_bytes=size), MODEL, _cpu())
    assert plan.num_blocks == 20


def test_a_pool_below_the_whole_window_shortens_it_when_nobody_insisted():
    model = small_config(max_position_embeddings=4096)
    plan = resolve(EngineConfig(model="m", kv_cache_bytes=1000 * TOKEN_BYTES), model, _cpu())
    assert plan.max_model_len == 992


@pytest.mark.parametrize(
    ("changes", "hardware", "says"),
    [
        ({"max_model_len": 257}, _cpu(), r"max_model_len is 257.*256 tokens.*maxModelLen"),
        ({"max_model_len": 1}, _cpu(), "max_model_len is 1"),
        (
            {"max_model_len": 200, "kv_cache_bytes": 100 * TOKEN_BYTES},
            _cpu(),
            r"max_model_len is 200.*enough for 96.*Set maxModelLen to 96",
        ),
        ({"kv_cache_bytes": 10}, _cpu(), r"enough for 0\. Give the KV cache"),
        ({}, _cpu(1000), "more memory"),
        ({"dtype": "float16"}, _cpu(), "float16"),
        ({"device": "cuda"}, _gpu(0), "no CUDA device"),
        ({"kv_cache_bytes": 2**40}, _cpu(2**30), r"1048576 MiB.*1024 MiB free.*kvCacheMemory"),
        ({"kv_cache_bytes": 2**40}, _gpu(2**36), r"cuda has.*kvCacheMemory"),
    ],
)
def test_what_cannot_work_is_refused_with_the_remedy(
    changes: dict[str, object], hardware: Hardware, says: str
):
    with pytest.raises(ConfigError, match=says):
        resolve(EngineConfig(model="m", **changes), MODEL, hardware)  # type: ignore[arg-type]


@given(
    st.integers(1, 300),
    st.one_of(st.none(), st.integers(1, 2000)),
    st.one_of(st.none(), st.integers(1, 3_000_000)),
    st.integers(0, 3 * 10**7),
)
def test_whatever_is_accepted_holds_one_longest_sequence(
    num_seqs: int, max_len: int | None, pool: int | None, memory: int
):
    config = EngineConfig(
        model="m", max_num_seqs=num_seqs, max_model_len=max_len, kv_cache_bytes=pool
    )
    try:
        plan = resolve(config, MODEL, _cpu(memory))
    except ConfigError as error:
        assert re.search("max_model_len|kv_cache_bytes", str(error))  # noqa: PT017 - either is fine
        return
    assert pool is None or plan.kv_cache_bytes < memory
    assert 2 <= plan.max_model_len <= min(plan.num_blocks * plan.block_size, 256)
    assert plan.max_num_batched_tokens >= plan.max_num_seqs
    if max_len is not None:
        assert plan.max_model_len == max_len
