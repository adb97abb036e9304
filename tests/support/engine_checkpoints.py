"""Writes small checkpoints as safetensors folders and GGUF files."""

import json
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import save_file

from engine_reference import Tensors, llama3_frequency, random_tensors
from pagelet_engine.model.config import ModelConfig, RopeScaling
from pagelet_engine.model.weights import expected_tensors

SCALING = RopeScaling(
    factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32
)


def small_config(architecture: str = "llama", **changes: object) -> ModelConfig:
    """Return a shape whose sizes all differ, so that a swapped one cannot go unnoticed."""
    shape: dict[str, object] = {
        "architecture": architecture,
        "vocab_size": 211,
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_layers": 3,
        "num_q_heads": 6,
        "num_kv_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 256,
        "attention_bias": architecture == "qwen2",
        "qk_norm": architecture == "qwen3",
        "eos_token_ids": (7,),
    }
    return ModelConfig(**{**shape, **changes})  # type: ignore[arg-type]


def weights_for(config: ModelConfig, seed: int = 0) -> Tensors:
    """Return random tensors for a shape, by Hugging Face name."""
    return random_tensors(config, expected_tensors(config), seed)


def write_folder(folder: Path, config: ModelConfig, tensors: Tensors, *, shards: int = 1) -> Path:
    """Write config.json and safetensors as Hugging Face lays them out."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(_hub_config(config)))
    names = sorted(tensors)
    if shards == 1:
        save_file(_torch(tensors, names), folder / "model.safetensors")
        return folder
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = names[shard::shards]
        save_file(_torch(tensors, part), folder / file)
        weight_map.update(dict.fromkeys(part, file))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def write_gguf(
    path: Path, config: ModelConfig, tensors: Tensors, *, kind: str = "F32", scaled: bool = False
) -> Path:
    """Write a GGUF file as converters do: q and k rows interleaved for architecture llama."""
    arch = config.architecture
    writer = gguf.GGUFWriter(path, arch)
    writer.add_block_count(config.num_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_q_heads)
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_eos_token_id(config.eos_token_ids[0])
    writer.add_token_list([f"t{i}" for i in range(config.vocab_size)])
    if scaled:
        writer.add_tensor("rope_freqs.weight", _factors(config))
    for name, tensor in tensors.items():
        if arch == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            tensor = _permuted(tensor, config.head_dim)
        _add(writer, gguf_name(name), tensor, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def gguf_name(name: str) -> str:
    """Return GGUF's name for a Hugging Face tensor name."""
    for hub, short in (
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("model.layers.", "blk."),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.", "attn_"),
        ("mlp.", "ffn_"),
        ("_proj", ""),
    ):
        name = name.replace(hub, short)
    return name


def _add(writer: gguf.GGUFWriter, name: str, tensor: np.ndarray, kind: str) -> None:
    quant = gguf.GGMLQuantizationType[kind]
    if kind == "F32" or tensor.ndim == 1:
        writer.add_tensor(name, tensor)
    else:
        writer.add_tensor(name, gguf.quants.quantize(tensor, quant), raw_dtype=quant)


def _permuted(rows: np.ndarray, head_dim: int) -> np.ndarray:
    halves = rows.reshape(-1, 2, head_dim // 2, rows.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows.shape))


def _factors(config: ModelConfig) -> np.ndarray:
    half = config.head_dim // 2
    plain = config.rope_theta ** (-np.arange(half) / half)
    return np.array([f / llama3_frequency(config, f) for f in plain], np.float32)


def _torch(tensors: Tensors, names: list[str]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(tensors[name]) for name in names}


def _hub_config(config: ModelConfig) -> dict[str, object]:
    raw: dict[str, object] = {
        "model_type": config.architecture,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_q_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "rope_theta": config.rope_theta,
        "rms_norm_eps": config.rms_norm_eps,
        "max_position_embeddings": config.max_position_embeddings,
        "tie_word_embeddings": config.tie_word_embeddings,
        "eos_token_id": list(config.eos_token_ids),
        "hidden_act": "silu",
    }
    if config.rope_scaling is not None:
        raw["rope_scaling"] = {
            "rope_type": "llama3",
            "factor": config.rope_scaling.factor,
            "low_freq_factor": config.rope_scaling.low_freq_factor,
            "high_freq_factor": config.rope_scaling.high_freq_factor,
            "original_max_position_embeddings": (
                config.rope_scaling.original_max_position_embeddings
            ),
        }
    return raw
