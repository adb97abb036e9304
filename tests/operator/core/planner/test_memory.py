import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.planner.devices import GPUS, Device
from pagelet_operator.core.planner.errors import PlanError
from pagelet_operator.core.planner.memory import EngineNumbers, gib, plan_memory
from planner_cases import CPU, H100, LLAMA_8B, SMOLLM2

engines = st.builds(
    EngineNumbers,
    dtype=st.sampled_from(["auto", "float32", "bfloat16", "float16"]),
    block_size=st.sampled_from([8, 16, 32, 64, 128]),
    max_num_seqs=st.integers(1, 512),
    max_num_batched_tokens=st.none() | st.integers(1, 16_384),
    max_model_len=st.none() | st.integers(2, 8192),
    kv_cache_bytes=st.none() | st.integers(1, 2**36),
    gpu_memory_fraction=st.floats(0.1, 0.99),
)
devices = st.sampled_from([*GPUS.values(), CPU])


@given(engines, devices, st.sampled_from([LLAMA_8B, SMOLLM2]))
def test_every_byte_is_somewhere_and_nowhere_twice(engine, device, shape):
    try:
        plan = plan_memory(shape, engine, device)
    except PlanError:
        return
    parts = (plan.weights_bytes, plan.activation_bytes, plan.kv_cache_bytes, plan.unused_bytes)
    assert sum(parts) == plan.device_bytes == device.memory_bytes
    assert min(parts) >= 0
    assert plan.kv_cache_bytes == plan.kv_tokens * plan.token_bytes
    assert plan.fits(plan.max_model_len) >= 1


@given(engines, st.integers(1, 10**6), st.integers(0, 10**6))
def test_longer_sequences_never_fit_more_often(engine, tokens, more):
    try:
        plan = plan_memory(SMOLLM2, engine, H100)
    except PlanError:
        return
    assert plan.fits(tokens + more) <= plan.fits(tokens)
    assert plan.fits(tokens) * tokens <= plan.kv_tokens


def test_an_8b_model_on_an_h100():
    plan = plan_memory(LLAMA_8B, EngineNumbers(), H100)
    assert (plan.dtype, plan.max_num_batched_tokens) == ("bfloat16", 2048)
    assert plan.weights_bytes == 2 * LLAMA_8B.num_parameters
    assert plan.num_blocks == 28_421


def test_a_cpu_has_room_for_a_batch_of_average_length_and_no_more():
    plan = plan_memory(SMOLLM2, EngineNumbers(), CPU)
    assert (plan.dtype, plan.kv_tokens) == ("float32", 64 * 512)


def test_a_window_that_nobody_insists_on_shrinks_to_the_cache():
    small = Device(name="small", is_gpu=True, memory_bytes=22 * 2**30)
    plan = plan_memory(LLAMA_8B, EngineNumbers(), small)
    assert 512 <= plan.max_model_len == plan.kv_tokens < LLAMA_8B.context_window
    with pytest.raises(PlanError, match=r"spec\.engine\.maxModelLen: one sequence of 131072"):
        plan_memory(LLAMA_8B, EngineNumbers(max_model_len=131072), small)


@pytest.mark.parametrize(
    ("engine", "gib_free", "named"),
    [
        ({}, 8, "weights take 15.0 GiB in bfloat16"),
        ({"kv_cache_bytes": 2**40}, 80, "spec.engine.kvCacheMemory is 1024.0 GiB"),
        ({"max_model_len": 200_000}, 80, "takes 2 to 131072"),
        ({"max_model_len": 1}, 80, "takes 2 to 131072"),
    ],
)
def test_what_cannot_fit_is_refused_by_field(engine, gib_free, named):
    device = Device(name="d", is_gpu=True, memory_bytes=gib_free * 2**30)
    with pytest.raises(PlanError) as error:
        plan_memory(LLAMA_8B, EngineNumbers(**engine), device)
    assert named in str(error.value)


def test_bytes_are_read_in_the_unit_that_fits():
    assert [gib(2**30), gib(2**20), gib(2**10)] == ["1.0 GiB", "1.0 MiB", "1.0 KiB"]


def test_a_step_has_room_for_a_token_of_every_sequence():
    assert plan_memory(SMOLLM2, EngineNumbers(max_num_seqs=600), CPU).max_num_batched_tokens == 600
