"""The engine's model equals an independent implementation, whatever file it came from."""

from pathlib import Path

import numpy as np
import pytest
import torch

from engine_checkpoints import SCALING, small_config, weights_for, write_folder, write_gguf
from engine_generation import GREEDY, generate, make_engine
from engine_reference import greedy, logits
from pagelet_engine.attention.kv_cache import KVCache
from pagelet_engine.attention.metadata import AttentionMetadata
from pagelet_engine.attention.reference import ReferenceBackend
from pagelet_engine.model.config import ModelConfig
from pagelet_engine.model.loader import open_checkpoint

CONFIGS = {
    "llama": small_config(),
    "llama tied": small_config(tie_word_embeddings=True),
    "llama without grouping": small_config(num_kv_heads=6),
    "llama with scaled rope": small_config(rope_scaling=SCALING),
    "head_dim apart from hidden size": small_config(head_dim=32),
    "mistral": small_config("mistral"),
    "qwen2": small_config("qwen2"),
    "qwen3": small_config("qwen3", tie_word_embeddings=True),
}
TOKENS = [3, 200, 17, 17, 90, 1, 150, 44, 9, 120, 61, 2, 33, 8, 77, 180, 5, 5, 23]


def _engine_logits(source: Path, config: ModelConfig) -> np.ndarray:
    """Logits after every token of TOKENS, in two chunks through the paged cache."""
    cpu = torch.device("cpu")
    model = open_checkpoint(str(source)).load(torch.float32, cpu)
    cache = KVCache(
        num_layers=config.num_layers, num_blocks=8, block_size=4,
        num_kv_heads=config.num_kv_heads, head_dim=config.head_dim,
        dtype=torch.float32, device=cpu,
    )  # fmt: skip
    table = torch.tensor([[6, 1, 4, 0, 7, 2]])
    rows = []
    for start, stop in ((0, 7), (7, len(TOKENS))):
        positions = torch.arange(start, stop)
        slots = table[0, positions // 4] * 4 + positions % 4
        meta = AttentionMetadata(0, [stop - start], [stop], table, slots)
        with torch.inference_mode():
            hidden = model.hidden(
                torch.tensor(TOKENS[start:stop]), positions, ReferenceBackend().begin(meta), cache
            )
            rows.append(model.logits(hidden))
    return torch.cat(rows).numpy()


@pytest.mark.parametrize("name", CONFIGS)
def test_a_safetensors_checkpoint_gives_the_reference_logits(tmp_path: Path, name: str):
    config = CONFIGS[name]
    tensors = weights_for(config)
    folder = write_folder(tmp_path, config, tensors)
    exact = {key: value.astype(np.float64) for key, value in tensors.items()}
    np.testing.assert_allclose(
        _engine_logits(folder, config), logits(config, exact, TOKENS), rtol=2e-3, atol=2e-3
    )


@pytest.mark.parametrize("name", [n for n in CONFIGS if n != "mistral"])
def test_a_gguf_file_gives_the_reference_logits(tmp_path: Path, name: str):
    config = CONFIGS[name]
    tensors = weights_for(config)
    scaled = config.rope_scaling is not None
    path = write_gguf(tmp_path / "model.gguf", config, tensors, scaled=scaled)
    exact = {key: value.astype(np.float64) for key, value in tensors.items()}
    np.testing.assert_allclose(
        _engine_logits(path, config), logits(config, exact, TOKENS), rtol=2e-3, atol=2e-3
    )


def test_the_whole_engine_generates_the_reference_tokens(tmp_path: Path):
    config = small_config()
    tensors = weights_for(config, seed=5)
    engine = make_engine(str(write_folder(tmp_path, config, tensors)), max_num_batched_tokens=64)
    prompts = [TOKENS[:n] for n in (1, 5, 16, 17)]
    expected = [greedy(config, tensors, prompt, GREEDY.max_tokens) for prompt in prompts]
    assert generate(engine, prompts) == expected
