"""Where a device's bytes go: weights, activations, KV blocks, and what is left.

The engine decides the same when it starts; a test holds this against what engine processes
report of their cache.
"""

from dataclasses import dataclass

from pagelet_operator.core.planner.devices import Device
from pagelet_operator.core.planner.errors import PlanError
from pagelet_operator.core.planner.shape import ModelShape

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_AVERAGE_LEN = 512
"""Tokens by which an engine on a CPU sizes its pool."""
_CPU_MEMORY_SHARE = 4
"""The pool takes at most one part in this many of what a CPU's memory has free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineNumbers:
    """What a resource's `engine` says; None is left to the engine."""

    dtype: str = "auto"
    block_size: int = 16
    max_num_seqs: int = 64
    max_num_batched_tokens: int | None = None
    max_model_len: int | None = None
    kv_cache_bytes: int | None = None
    gpu_memory_fraction: float = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """One replica's bytes. Weights, activations, cache and unused add up to the device's."""

    dtype: str
    device_bytes: int
    weights_bytes: int
    activation_bytes: int
    kv_cache_bytes: int
    unused_bytes: int
    """Left to the driver, fragmentation and, on a CPU, everything else."""
    token_bytes: int
    """K and V of one token."""
    block_size: int
    """Tokens per block."""
    num_blocks: int
    max_model_len: int
    """Tokens of prompt and output together, as the engine fits them."""
    max_num_seqs: int
    max_num_batched_tokens: int

    @property
    def kv_tokens(self) -> int:
        """Tokens that the cache holds."""
        return self.num_blocks * self.block_size

    def fits(self, num_tokens: float) -> int:
        """Return how many sequences of so many tokens the cache holds at once."""
        blocks = max(1, -(-int(num_tokens) // self.block_size))
        return self.num_blocks // blocks


def plan_memory(shape: ModelShape, engine: EngineNumbers, device: Device) -> MemoryPlan:
    """Return where the device's bytes go.

    Raises:
        PlanError: The model or one sequence of `engine.maxModelLen` does not fit; the message
            names what is there, what is needed and what to change.
    """
    auto = "bfloat16" if device.is_gpu else "float32"
    dtype = auto if engine.dtype == "auto" else engine.dtype
    weights = shape.num_parameters * DTYPE_BYTES[dtype]
    budget = engine.max_num_batched_tokens or (2048 if device.is_gpu else 512)
    budget = max(budget, engine.max_num_seqs)
    activations = _activation_bytes(shape, engine, budget)
    if weights + activations >= device.memory_bytes:
        raise PlanError(
            f"{device.name} has {gib(device.memory_bytes)} free, but the weights take "
            f"{gib(weights)} in {dtype} and activations {gib(activations)}; choose a larger device "
            f"or a smaller model"
        )
    token_bytes = shape.token_bytes(DTYPE_BYTES[dtype])
    wanted = _wanted_len(engine, shape)
    average = min(_AVERAGE_LEN, shape.context_window)
    least = max(engine.max_num_seqs * average, wanted + engine.block_size) * token_bytes
    pool = _pool_bytes(engine, device, weights + activations, least)
    num_blocks = pool // (token_bytes * engine.block_size)
    cache = num_blocks * engine.block_size * token_bytes
    return MemoryPlan(
        dtype=dtype,
        device_bytes=device.memory_bytes,
        weights_bytes=weights,
        activation_bytes=activations,
        kv_cache_bytes=cache,
        unused_bytes=device.memory_bytes - weights - activations - cache,
        token_bytes=token_bytes,
        block_size=engine.block_size,
        num_blocks=num_blocks,
        max_model_len=_fitted_len(engine, wanted, num_blocks, token_bytes),
        max_num_seqs=engine.max_num_seqs,
        max_num_batched_tokens=budget,
    )


def gib(num_bytes: float) -> str:
    """Return bytes as people read them."""
    if num_bytes >= 2**30:
        return f"{num_bytes / 2**30:.1f} GiB"
    return f"{num_bytes / 2**20:.1f} MiB" if num_bytes >= 2**20 else f"{num_bytes / 1024:.1f} KiB"


def _activation_bytes(shape: ModelShape, engine: EngineNumbers, budget: int) -> int:
    per_token = 4 * (6 * shape.hidden_size + 4 * shape.intermediate_size)
    return budget * per_token + 2 * 4 * engine.max_num_seqs * shape.vocab_size


def _wanted_len(engine: EngineNumbers, shape: ModelShape) -> int:
    wanted = engine.max_model_len or shape.context_window
    if not 2 <= wanted <= shape.context_window:
        raise PlanError(
            f"spec.engine.maxModelLen is {wanted}; this model takes 2 to {shape.context_window}"
        )
    return wanted


def _pool_bytes(engine: EngineNumbers, device: Device, taken: int, least: int) -> int:
    """Return the bytes of the cache; `least` is what a CPU's batch or longest sequence needs."""
    free = device.memory_bytes - taken
    if engine.kv_cache_bytes is not None:
        if engine.kv_cache_bytes > free:
            raise PlanError(
                f"spec.engine.kvCacheMemory is {gib(engine.kv_cache_bytes)}, but weights and "
                f"activations leave {gib(free)} of {device.name}; lower it, or leave it out"
            )
        return engine.kv_cache_bytes
    if device.is_gpu:
        return max(0, int(device.memory_bytes * engine.gpu_memory_fraction) - taken)
    return min(least, free // _CPU_MEMORY_SHARE)


def _fitted_len(engine: EngineNumbers, wanted: int, num_blocks: int, token_bytes: int) -> int:
    capacity = num_blocks * engine.block_size
    if wanted <= capacity:
        return wanted
    if engine.max_model_len is None and capacity >= _AVERAGE_LEN:
        return capacity
    raise PlanError(
        f"spec.engine.maxModelLen: one sequence of {wanted} tokens takes "
        f"{gib(wanted * token_bytes)} of KV cache, but there is room for {capacity} tokens; lower "
        f"it, or choose a larger device"
    )
