"""A device gets a backend that was made for its cache."""

import torch

from pagelet_engine.attention.dispatch import select_backend
from pagelet_engine.attention.gathered import GatheredBackend
from pagelet_engine.attention.kv_cache import KVCache


def test_a_cpu_gets_the_gathered_path():
    cache = KVCache(
        num_layers=1, num_blocks=1, block_size=8, num_kv_heads=1, head_dim=2,
        dtype=torch.bfloat16, device=torch.device("cpu"),
    )  # fmt: skip
    assert isinstance(select_backend(cache), GatheredBackend)
