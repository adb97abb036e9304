"""Which tensors a model needs, under one set of names, and the check that a file has just those.

Names are those of Hugging Face checkpoints; the GGUF loader translates. Every tensor is accounted
for: a missing one would leave random numbers, an unknown one means the arithmetic here is not the
model's, and both give fluent nonsense instead of an error.
"""

import math
from typing import Protocol

import torch

from pagelet_engine.errors import ModelLoadError
from pagelet_engine.model.config import ModelConfig
from pagelet_engine.model.rope import interleave_heads

Shape = tuple[int, ...]
LM_HEAD = "lm_head.weight"
_MAX_NAMED = 5
_ROTATED = ("q_proj.weight", "k_proj.weight", "q_proj.bias", "k_proj.bias")
_ROTATED_NORMS = ("q_norm.weight", "k_norm.weight")


class WeightSource(Protocol):
    """An opened checkpoint."""

    shapes: dict[str, Shape]
    """What the files hold, by Hugging Face name."""
    interleaved: bool
    """Whether q and k rows are in the interleaved rotary convention already."""
    rope_factors: torch.Tensor | None
    """[head_dim / 2] float32 divisors of the rotary frequencies, if the files bring some."""

    def read(self, name: str, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """Return one tensor.

        Raises:
            ModelLoadError: Its data is corrupt or in an unknown format.
        """
        ...


def expected_tensors(config: ModelConfig) -> dict[str, Shape]:
    """Return name and shape of every tensor of a model of this shape."""
    hidden, vocab = config.hidden_size, config.vocab_size
    shapes: dict[str, Shape] = {
        "model.embed_tokens.weight": (vocab, hidden),
        "model.norm.weight": (hidden,),
    }
    if not config.tie_word_embeddings:
        shapes[LM_HEAD] = (vocab, hidden)
    for index in range(config.num_layers):
        layer = _layer_tensors(config)
        shapes.update({f"model.layers.{index}.{name}": shape for name, shape in layer.items()})
    return shapes


def check_tensors(source: WeightSource, config: ModelConfig, where: str) -> None:
    """Refuse a checkpoint whose tensors are not exactly the model's.

    Raises:
        ModelLoadError: Names what is missing, unknown or wrongly shaped.
    """
    found = source.shapes
    # Before a name is made for each: a damaged head may claim four thousand million layers.
    if config.num_layers > len(found):
        raise ModelLoadError(
            f"{where} claims {config.num_layers} layers, but holds {len(found)} tensors; the file "
            f"is damaged or incomplete. Download it again."
        )
    expected = expected_tensors(config)
    missing = sorted(expected.keys() - found.keys())
    if missing:
        raise ModelLoadError(f"{where} lacks {_listed(missing)}; the download may be incomplete.")
    unknown = sorted(found.keys() - expected.keys())
    if unknown:
        raise ModelLoadError(
            f"{where} holds {_listed(unknown)}, unknown for architecture "
            f"{config.architecture!r}; this kind of model is not supported."
        )
    for name, shape in expected.items():
        if found[name] != shape:
            raise ModelLoadError(
                f"{where}: tensor {name} has shape {list(found[name])}, but the model's "
                f"configuration asks for {list(shape)}."
            )


def read_interleaved(
    source: WeightSource, config: ModelConfig, name: str, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """Return a tensor with q and k rows in the interleaved rotary convention.

    Raises:
        ModelLoadError: The tensor holds NaN or infinity, which would poison every answer.
    """
    tensor = source.read(name, dtype, device)
    if not all(math.isfinite(float(edge)) for edge in torch.aminmax(tensor)):
        raise ModelLoadError(
            f"tensor {name} holds values that are no finite numbers in {dtype}; the file is "
            f"damaged, or the type too narrow for it. Download it again."
        )
    if not source.interleaved and name.endswith(_ROTATED + _ROTATED_NORMS):
        return interleave_heads(tensor, config.head_dim)
    return tensor


def _layer_tensors(config: ModelConfig) -> dict[str, Shape]:
    hidden, inner = config.hidden_size, config.intermediate_size
    q_rows, kv_rows = (
        config.num_q_heads * config.head_dim,
        config.num_kv_heads * config.head_dim,
    )
    shapes: dict[str, Shape] = {
        "input_layernorm.weight": (hidden,),
        "post_attention_layernorm.weight": (hidden,),
        "self_attn.q_proj.weight": (q_rows, hidden),
        "self_attn.k_proj.weight": (kv_rows, hidden),
        "self_attn.v_proj.weight": (kv_rows, hidden),
        "self_attn.o_proj.weight": (hidden, q_rows),
        "mlp.gate_proj.weight": (inner, hidden),
        "mlp.up_proj.weight": (inner, hidden),
        "mlp.down_proj.weight": (hidden, inner),
    }
    if config.attention_bias:
        for name, rows in (("q", q_rows), ("k", kv_rows), ("v", kv_rows)):
            shapes[f"self_attn.{name}_proj.bias"] = (rows,)
    if config.qk_norm:
        shapes["self_attn.q_norm.weight"] = (config.head_dim,)
        shapes["self_attn.k_norm.weight"] = (config.head_dim,)
    return shapes


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    noun = "tensor" if len(names) == 1 else "tensors"
    return f"{noun} {', '.join(names[:_MAX_NAMED])}{rest}"
