"""Turns what was asked for into numbers: dtype, lengths, and the size of the KV pool.

A pure function of configuration, model and machine, decided before any weight is read, so that
what cannot work is refused in a second.
"""

from dataclasses import dataclass
from math import prod

from pagelet_engine.config import EngineConfig
from pagelet_engine.errors import ConfigError
from pagelet_engine.model.config import ModelConfig
from pagelet_engine.model.weights import expected_tensors
from pagelet_engine.runner.hardware import Hardware

_DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_AVERAGE_LEN = 512
"""Tokens of an ordinary chat turn with its answer; sizes the pool on a CPU."""
_CPU_MEMORY_SHARE = 4
"""The pool takes at most one part in this many of a machine that has other work to do."""
_MIN_MODEL_LEN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedConfig:
    """An engine's numbers, none left open."""

    device: str
    dtype: str
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    block_size: int
    num_blocks: int
    kv_cache_bytes: int
    num_threads: int


def resolve(config: EngineConfig, model: ModelConfig, hardware: Hardware) -> ResolvedConfig:
    """Decide what the user left open and check what was asked for.

    Raises:
        ConfigError: No GPU, a context window the model does not have, or a KV pool that cannot
            hold one sequence of `max_model_len`; names the values and the remedy.
    """
    if hardware.device == "cuda" and hardware.memory_bytes == 0:
        raise ConfigError("device is 'cuda', but there is no CUDA device; use cpu or auto.")
    dtype = _dtype(config, hardware)
    budget = config.max_num_batched_tokens or (2048 if hardware.device == "cuda" else 512)
    budget = max(budget, config.max_num_seqs)
    token_bytes = _token_bytes(model, dtype)
    wanted_len = _wanted_len(config, model)
    pool_bytes = _asked_bytes(config, hardware) or _pool_bytes(
        config, model, hardware, dtype, budget
    )
    num_blocks = pool_bytes // (token_bytes * config.block_size)
    max_model_len = _fitted_len(config, wanted_len, num_blocks, token_bytes)
    return ResolvedConfig(
        device=hardware.device,
        dtype=dtype,
        max_model_len=max_model_len,
        max_num_seqs=config.max_num_seqs,
        max_num_batched_tokens=budget,
        block_size=config.block_size,
        num_blocks=num_blocks,
        kv_cache_bytes=num_blocks * config.block_size * token_bytes,
        num_threads=config.num_threads or hardware.num_cores,
    )


def _asked_bytes(config: EngineConfig, hardware: Hardware) -> int | None:
    asked = config.kv_cache_bytes
    if asked is not None and asked >= hardware.memory_bytes:
        raise ConfigError(
            f"kv_cache_bytes is {_mib(asked)}, but {hardware.device} has "
            f"{_mib(hardware.memory_bytes)} free, and the weights need room too; set "
            f"kvCacheMemory lower, or leave it out."
        )
    return asked


def _dtype(config: EngineConfig, hardware: Hardware) -> str:
    if config.dtype == "auto":
        return "bfloat16" if hardware.device == "cuda" else "float32"
    if config.dtype == "float16" and hardware.device == "cpu":
        raise ConfigError("dtype is 'float16', which CPUs compute slowly; use float32 or bfloat16.")
    return config.dtype


def _wanted_len(config: EngineConfig, model: ModelConfig) -> int:
    window = model.max_position_embeddings
    wanted = config.max_model_len or window
    if wanted > window:
        raise ConfigError(
            f"max_model_len is {wanted}, but the model's context window is {window} tokens; "
            f"set maxModelLen to {window} or less."
        )
    if wanted < _MIN_MODEL_LEN:
        raise ConfigError(f"max_model_len is {wanted}; one prompt and one output token need 2.")
    return wanted


def _fitted_len(config: EngineConfig, wanted: int, num_blocks: int, token_bytes: int) -> int:
    capacity = num_blocks * config.block_size
    if wanted <= capacity:
        return wanted
    if config.max_model_len is None and capacity >= max(_AVERAGE_LEN, _MIN_MODEL_LEN):
        return capacity  # nobody insisted on the whole window
    needed = -(-wanted // config.block_size) * config.block_size * token_bytes
    raise ConfigError(
        f"max_model_len is {wanted} tokens, which need {_mib(needed)} of KV cache, but the cache "
        f"has {_mib(capacity * token_bytes)}, enough for {capacity}. {_remedy(capacity)}"
    )


def _remedy(capacity: int) -> str:
    more = "give the KV cache (or the machine: weights come first) more memory."
    if capacity < _MIN_MODEL_LEN:
        return f"{more[0].upper()}{more[1:]}"
    return f"Set maxModelLen to {capacity} or less, or {more}"


def _pool_bytes(
    config: EngineConfig, model: ModelConfig, hardware: Hardware, dtype: str, budget: int
) -> int:
    weights = sum(prod(shape) for shape in expected_tensors(model).values()) * _DTYPE_BYTES[dtype]
    activations = _activation_bytes(config, model, budget)
    if hardware.device == "cuda":
        usable = int(hardware.memory_bytes * config.gpu_memory_fraction)
        return max(0, usable - weights - activations)
    free = max(0, hardware.memory_bytes - weights - activations)
    average = min(_AVERAGE_LEN, model.max_position_embeddings)
    wanted = config.max_num_seqs * average * _token_bytes(model, dtype)
    one_sequence = _wanted_len(config, model) + config.block_size
    return min(max(wanted, one_sequence * _token_bytes(model, dtype)), free // _CPU_MEMORY_SHARE)


def _activation_bytes(config: EngineConfig, model: ModelConfig, budget: int) -> int:
    per_token = 4 * (6 * model.hidden_size + 4 * model.intermediate_size)
    return budget * per_token + 2 * 4 * config.max_num_seqs * model.vocab_size


def _token_bytes(model: ModelConfig, dtype: str) -> int:
    return 2 * model.num_layers * model.num_kv_heads * model.head_dim * _DTYPE_BYTES[dtype]


def _mib(num_bytes: int) -> str:
    return f"{num_bytes / 2**20:.0f} MiB"
