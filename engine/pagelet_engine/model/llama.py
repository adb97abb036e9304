"""The Llama family: RMSNorm, rotary positions, grouped-query attention, gated SiLU.

Plain torch over a flat token dimension: the rows of a step are the new tokens of all its
sequences, and only attention knows where one ends. Mistral, Qwen2 (q/k/v bias) and Qwen3
(q/k norm) differ by flags of `ModelConfig`.

Source: Touvron et al. 2023, section 2.2; Ainslie et al. 2023 (grouped queries).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import embedding, rms_norm, silu

from pagelet_engine.attention.backend import AttentionStep
from pagelet_engine.attention.kv_cache import KVCache, LayerCache
from pagelet_engine.model.config import ModelConfig
from pagelet_engine.model.linear import Linear
from pagelet_engine.model.rope import inverse_frequencies, rotate, rotations

GetTensor = Callable[[str], torch.Tensor]


@dataclass(frozen=True, slots=True)
class _Layer:
    """The weights of one block."""

    input_norm: torch.Tensor
    qkv: Linear
    """Rows: all query heads, all key heads, all value heads."""
    q_norm: torch.Tensor | None
    k_norm: torch.Tensor | None
    attention_output: Linear
    mlp_norm: torch.Tensor
    gate_up: Linear
    """Rows: gate, then up."""
    down: Linear


class Llama:
    """A decoder-only transformer whose K/V lives in a paged cache."""

    def __init__(
        self, config: ModelConfig, get: GetTensor, rope_factors: torch.Tensor | None = None
    ) -> None:
        """Take over a checkpoint's tensors.

        Args:
            config: Shapes.
            get: Returns the tensor of a name of `weights.expected_tensors(config)`, in the
                target dtype and on the target device, q and k rows interleaved (see `rope`).
            rope_factors: [head_dim / 2] float32: divides the rotary frequencies (GGUF's form of
                Llama 3 scaling).
        """
        self.config = config
        self._embedding = get("model.embed_tokens.weight")
        self._layers = [_layer(config, get, index) for index in range(config.num_layers)]
        self._norm = get("model.norm.weight")
        self._lm_head = Linear(
            self._embedding if config.tie_word_embeddings else get("lm_head.weight")
        )
        frequencies = inverse_frequencies(config)
        if rope_factors is not None:
            frequencies = frequencies / rope_factors
        self._frequencies = frequencies.to(self._embedding.device)

    @property
    def num_bytes(self) -> int:
        """Memory of the weights."""
        products = [self._lm_head] + [
            product
            for layer in self._layers
            for product in (layer.qkv, layer.attention_output, layer.gate_up, layer.down)
        ]
        table_bytes = self._embedding.numel() * self._embedding.element_size()
        return table_bytes + sum(product.num_bytes for product in products)

    def hidden(
        self,
        token_ids: torch.Tensor,
        positions: torch.Tensor,
        attention: AttentionStep,
        cache: KVCache,
    ) -> torch.Tensor:
        """Run all blocks and return the final hidden states [num_tokens, hidden_size].

        Args:
            token_ids: [num_tokens] int64.
            positions: [num_tokens] int64, place of each token in its sequence.
            attention: The step's attention.
            cache: K/V of all layers; gets the new tokens' entries.
        """
        x = embedding(token_ids, self._embedding)
        rotation = rotations(positions, self._frequencies)
        for layer, layer_cache in zip(self._layers, cache.layers, strict=True):
            x = x + self._attend(layer, self._normed(x, layer.input_norm), rotation, attention,
                                 layer_cache)  # fmt: skip
            x = x + _feed_forward(layer, self._normed(x, layer.mlp_norm))
        return x

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return [num_rows, vocab_size] float32 for `hidden` [num_rows, hidden_size]."""
        return self._lm_head(self._normed(hidden, self._norm)).float()

    def _attend(
        self,
        layer: _Layer,
        x: torch.Tensor,
        rotation: torch.Tensor,
        attention: AttentionStep,
        cache: LayerCache,
    ) -> torch.Tensor:
        config = self.config
        num_rotated = config.num_q_heads + config.num_kv_heads
        heads = layer.qkv(x).view(x.shape[0], -1, config.head_dim)
        query_key, value = heads[:, :num_rotated], heads[:, num_rotated:]
        if layer.q_norm is not None and layer.k_norm is not None:
            query_key = torch.cat(
                [
                    self._normed(query_key[:, : config.num_q_heads], layer.q_norm),
                    self._normed(query_key[:, config.num_q_heads :], layer.k_norm),
                ],
                dim=1,
            )
        query_key = rotate(query_key, rotation)
        query, key = query_key[:, : config.num_q_heads], query_key[:, config.num_q_heads :]
        return layer.attention_output(attention.attend(query, key, value, cache))

    def _normed(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return rms_norm(x, weight.shape, weight, self.config.rms_norm_eps)


def _feed_forward(layer: _Layer, x: torch.Tensor) -> torch.Tensor:
    gate, up = layer.gate_up(x).chunk(2, dim=-1)
    return layer.down(silu(gate).mul_(up))


def _layer(config: ModelConfig, get: GetTensor, index: int) -> _Layer:
    prefix = f"model.layers.{index}"
    attention = f"{prefix}.self_attn"
    bias = (
        torch.cat([get(f"{attention}.{name}_proj.bias") for name in "qkv"])
        if config.attention_bias
        else None
    )
    return _Layer(
        input_norm=get(f"{prefix}.input_layernorm.weight"),
        qkv=Linear(torch.cat([get(f"{attention}.{name}_proj.weight") for name in "qkv"]), bias),
        q_norm=get(f"{attention}.q_norm.weight") if config.qk_norm else None,
        k_norm=get(f"{attention}.k_norm.weight") if config.qk_norm else None,
        attention_output=Linear(get(f"{attention}.o_proj.weight")),
        mlp_norm=get(f"{prefix}.post_attention_layernorm.weight"),
        gate_up=Linear(
            torch.cat([get(f"{prefix}.mlp.{name}_proj.weight") for name in ("gate", "up")])
        ),
        down=Linear(get(f"{prefix}.mlp.down_proj.weight")),
    )
