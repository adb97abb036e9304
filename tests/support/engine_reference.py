"""The model once more, in numpy and without any cache: what the engine's output must equal.

Written from the papers and on purpose unlike the engine: whole sequences, separate q, k and v,
half-split rotary pairs as in Hugging Face checkpoints, one head at a time, no paging.
"""

import numpy as np
import numpy.typing as npt

from pagelet_engine.model.config import ModelConfig

Array = npt.NDArray[np.floating]
Tensors = dict[str, Array]


def logits(config: ModelConfig, tensors: Tensors, token_ids: list[int]) -> Array:
    """Return [num_tokens, vocab_size]: what follows each prefix of `token_ids`."""
    x = tensors["model.embed_tokens.weight"][token_ids]
    for index in range(config.num_layers):
        layer = {
            name.removeprefix(f"model.layers.{index}."): tensor
            for name, tensor in tensors.items()
            if name.startswith(f"model.layers.{index}.")
        }
        normed = _rms_norm(x, layer["input_layernorm.weight"], config.rms_norm_eps)
        x = x + _attention(config, layer, normed)
        normed = _rms_norm(x, layer["post_attention_layernorm.weight"], config.rms_norm_eps)
        gate = normed @ layer["mlp.gate_proj.weight"].T
        up = normed @ layer["mlp.up_proj.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ layer["mlp.down_proj.weight"].T
    x = _rms_norm(x, tensors["model.norm.weight"], config.rms_norm_eps)
    head = "model.embed_tokens.weight" if config.tie_word_embeddings else "lm_head.weight"
    return x @ tensors[head].T


def greedy(config: ModelConfig, tensors: Tensors, prompt: list[int], max_tokens: int) -> list[int]:
    """Return the most likely continuation, everything recomputed for every token."""
    tokens = list(prompt)
    for _ in range(max_tokens):
        tokens.append(int(logits(config, tensors, tokens)[-1].argmax()))
    return tokens[len(prompt) :]


def random_tensors(config: ModelConfig, shapes: dict[str, tuple[int, ...]], seed: int) -> Tensors:
    """Return weights large enough that every part of the arithmetic matters."""
    generator = np.random.default_rng(seed)
    tensors: Tensors = {}
    for name, shape in shapes.items():
        if name.endswith("norm.weight"):
            tensors[name] = (1 + 0.3 * generator.standard_normal(shape)).astype(np.float32)
        else:
            scale = 1.0 if "embed" in name else 1.5 / np.sqrt(shape[-1])
            tensors[name] = (scale * generator.standard_normal(shape)).astype(np.float32)
    return tensors


def _attention(config: ModelConfig, layer: Tensors, x: Array) -> Array:
    num_tokens, dim = len(x), config.head_dim
    q, k, v = (_project(layer, name, x).reshape(num_tokens, -1, dim) for name in "qkv")
    if config.qk_norm:
        q = _rms_norm(q, layer["self_attn.q_norm.weight"], config.rms_norm_eps)
        k = _rms_norm(k, layer["self_attn.k_norm.weight"], config.rms_norm_eps)
    q, k = _rotate(config, q), _rotate(config, k)
    future = np.triu(np.full((num_tokens, num_tokens), -np.inf, x.dtype), 1)
    heads = []
    for head in range(config.num_q_heads):
        kv_head = head * config.num_kv_heads // config.num_q_heads
        scores = q[:, head] @ k[:, kv_head].T / np.sqrt(x.dtype.type(dim)) + future
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        heads.append(weights / weights.sum(-1, keepdims=True) @ v[:, kv_head])
    return np.concatenate(heads, -1) @ layer["self_attn.o_proj.weight"].T


def _project(layer: Tensors, name: str, x: Array) -> Array:
    out = x @ layer[f"self_attn.{name}_proj.weight"].T
    bias = layer.get(f"self_attn.{name}_proj.bias")
    return out if bias is None else out + bias


def _rotate(config: ModelConfig, heads: Array) -> Array:
    half = config.head_dim // 2
    frequencies = config.rope_theta ** (-np.arange(half) / half)
    if config.rope_scaling is not None:
        frequencies = np.array([llama3_frequency(config, f) for f in frequencies])
    angles = np.outer(np.arange(len(heads)), frequencies)
    cos, sin = (f(angles)[:, None].astype(heads.dtype) for f in (np.cos, np.sin))
    first, second = heads[..., :half], heads[..., half:]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)


def llama3_frequency(config: ModelConfig, frequency: float) -> float:
    scaling = config.rope_scaling
    assert scaling is not None
    wavelength = 2 * np.pi / frequency
    longest = scaling.original_max_position_embeddings / scaling.low_freq_factor
    shortest = scaling.original_max_position_embeddings / scaling.high_freq_factor
    if wavelength < shortest:
        return frequency
    if wavelength > longest:
        return frequency / scaling.factor
    smooth = (scaling.original_max_position_embeddings / wavelength - scaling.low_freq_factor) / (
        scaling.high_freq_factor - scaling.low_freq_factor
    )
    return (1 - smooth) * frequency / scaling.factor + smooth * frequency


def _rms_norm(x: Array, weight: Array, eps: float) -> Array:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + x.dtype.type(eps)) * weight
