"""From a configuration to an engine that is ready: finds the model, plans memory, loads, connects.

Knows every part and decides nothing while the engine runs.
"""

import time
from collections.abc import Callable

import torch

from pagelet_engine.attention.dispatch import select_backend
from pagelet_engine.attention.kv_cache import KVCache
from pagelet_engine.config import EngineConfig
from pagelet_engine.constraints.masks import Masks
from pagelet_engine.core.admission import AdmissionLimits
from pagelet_engine.core.block_manager import BlockManager
from pagelet_engine.core.scheduler import Scheduler, SchedulerLimits
from pagelet_engine.engine import Engine
from pagelet_engine.messages import Ready
from pagelet_engine.model.config import ModelConfig
from pagelet_engine.model.llama import Llama
from pagelet_engine.model.loader import open_checkpoint
from pagelet_engine.runner.block_tables import BlockTables
from pagelet_engine.runner.hardware import detect_hardware
from pagelet_engine.runner.memory_plan import ResolvedConfig, resolve
from pagelet_engine.runner.model_runner import ModelRunner


def build_engine(config: EngineConfig, on_stage: Callable[[str], None]) -> Engine:
    """Find the model, plan memory, load weights, and put an engine together.

    Args:
        config: What the user said.
        on_stage: Called with each start-up stage's name as it begins.

    Raises:
        ConfigError: The model or the configuration cannot be used; says what to change.
    """
    started = time.monotonic()
    on_stage("finding model")
    checkpoint = open_checkpoint(config.model, config.revision)
    resolved = resolve(config, checkpoint.config, detect_hardware(config.device))
    torch.set_num_threads(resolved.num_threads)
    device, dtype = torch.device(resolved.device), getattr(torch, resolved.dtype)
    on_stage("loading weights")
    model = checkpoint.load(dtype, device)
    on_stage("allocating KV cache")
    return _assemble(config, resolved, model, started)


def _assemble(
    config: EngineConfig, resolved: ResolvedConfig, model: Llama, started: float
) -> Engine:
    cache = _cache(resolved, model.config)
    blocks = BlockManager(
        resolved.num_blocks, resolved.block_size, caches_prefixes=config.prefix_caching
    )
    limits = SchedulerLimits(
        max_num_seqs=resolved.max_num_seqs,
        max_num_batched_tokens=resolved.max_num_batched_tokens,
        max_model_len=resolved.max_model_len,
        target_itl_s=None if config.target_itl_ms is None else config.target_itl_ms / 1000,
    )
    admission = AdmissionLimits(
        max_queued_requests=config.max_queued_requests,
        max_queued_tokens=config.max_queued_tokens,
        max_concurrent_requests=config.max_concurrent_requests,
        queue_timeout_s=config.queue_timeout_s,
    )
    scheduler = Scheduler(limits, blocks, frozenset(model.config.eos_token_ids), admission)
    tables = BlockTables(
        resolved.max_num_seqs, blocks.num_blocks_for(resolved.max_model_len), cache.null_block
    )
    masks = Masks(model.config.vocab_size)
    runner = ModelRunner(
        model,
        cache,
        select_backend(cache),
        tables,
        device=torch.device(resolved.device),
        seed=config.seed,
        masks=masks,
    )
    ready = Ready(
        vocab_size=model.config.vocab_size,
        max_model_len=resolved.max_model_len,
        num_blocks=resolved.num_blocks,
        block_size=resolved.block_size,
        dtype=resolved.dtype,
        device=resolved.device,
        kv_cache_bytes=resolved.kv_cache_bytes,
        weights_bytes=model.num_bytes,
        load_seconds=time.monotonic() - started,
        eos_token_ids=list(model.config.eos_token_ids),
    )
    return Engine(scheduler, blocks, runner, ready, masks)


def _cache(resolved: ResolvedConfig, model: ModelConfig) -> KVCache:
    return KVCache(
        num_layers=model.num_layers,
        num_blocks=resolved.num_blocks,
        block_size=resolved.block_size,
        num_kv_heads=model.num_kv_heads,
        head_dim=model.head_dim,
        dtype=getattr(torch, resolved.dtype),
        device=torch.device(resolved.device),
    )
