"""Blocks of the cache: written by slot, cleared when they change hands."""

import torch

from pagelet_engine.attention.kv_cache import KVCache


def _cache() -> KVCache:
    return KVCache(
        num_layers=2, num_blocks=3, block_size=2, num_kv_heads=1, head_dim=4,
        dtype=torch.float32, device=torch.device("cpu"),
    )  # fmt: skip


def test_a_slot_is_block_times_size_plus_offset():
    cache = _cache()
    cache.clear_blocks([0, 1, 2])
    cache.layers[1].write(torch.ones(1, 1, 4), torch.full((1, 1, 4), 2.0), torch.tensor([3]))
    assert (cache.layers[1].key[1, 1] == 1).all()
    assert (cache.layers[1].value[1, 1] == 2).all()
    assert cache.layers[1].key.sum() == 4
    assert cache.layers[0].key.sum() == 0


def test_clearing_reaches_every_layer_and_only_the_named_blocks():
    cache = _cache()
    for layer in cache.layers:
        layer.key.fill_(float("nan"))
        layer.value.fill_(7.0)
    cache.clear_blocks([0, 2])
    for layer in cache.layers:
        assert (layer.key[[0, 2]] == 0).all()
        assert (layer.value[[0, 2]] == 0).all()
        assert layer.key[1].isnan().all()
        assert (layer.value[1] == 7).all()


def test_the_null_block_is_zero_and_lies_behind_the_pool():
    cache = _cache()
    assert cache.null_block == 3
    assert all((layer.key[3] == 0).all() and (layer.value[3] == 0).all() for layer in cache.layers)
    assert cache.num_bytes == 2 * 2 * 4 * 2 * 4 * 4
