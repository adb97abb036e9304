"""Chooses the attention backend for a device."""

import torch

from pagelet_engine.attention.backend import AttentionBackend
from pagelet_engine.attention.gathered import GatheredBackend
from pagelet_engine.attention.kv_cache import KVCache


def select_backend(cache: KVCache) -> AttentionBackend:
    """Return the fastest backend for where `cache` lies.

    Every device takes the gathered path: the CPU because it is the fastest there, others because
    it runs on anything torch does.
    """
    key = cache.layers[0].key
    return GatheredBackend(
        block_size=cache.block_size,
        dtype=key.dtype,
        token_bytes=key.shape[2] * key.shape[3] * torch.finfo(key.dtype).bits // 8,
    )
