"""What a model is made of, as far as memory and time depend on it. No weights are read.

One family: decoder-only transformers in the manner of Llama, as the engine serves them. The
counting follows its list of tensors, embedding and norms included.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pagelet_operator.core.planner.errors import PlanError

ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The numbers that fix every tensor's shape.

    Raises:
        PlanError: One of them is no number that a model has.
    """

    num_layers: int
    num_q_heads: int
    num_kv_heads: int
    head_dim: int
    hidden_size: int
    intermediate_size: int
    vocab_size: int
    context_window: int
    """Tokens."""
    tied: bool = False
    """The LM head is the embedding matrix."""
    attention_bias: bool = False
    qk_norm: bool = False
    told_parameters: int | None = None
    """Parameters as somebody says; the sizes above that only serve activations are then guesses."""

    def __post_init__(self) -> None:
        """Refuse what no model is."""
        for name in ("num_layers", "num_q_heads", "num_kv_heads", "head_dim", "hidden_size",
                     "intermediate_size", "vocab_size", "context_window"):  # fmt: skip
            if getattr(self, name) < 1:
                raise PlanError(f"the model's {name} is {getattr(self, name)}; it must be above 0")
        if self.told_parameters is not None and self.told_parameters < 1:
            raise PlanError(f"--params is {self.told_parameters}; it must be above 0")

    @property
    def num_parameters(self) -> int:
        """All weights, counted once."""
        if self.told_parameters is not None:
            return self.told_parameters
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tied else 2)
        return embeddings + self.hidden_size + self.num_layers * self._per_layer()

    @property
    def num_multiplied(self) -> int:
        """Weights that every token is multiplied with: all but an embedding that is looked up."""
        if self.tied or self.told_parameters is not None:
            return self.num_parameters
        return self.num_parameters - self.vocab_size * self.hidden_size

    def token_bytes(self, dtype_bytes: int) -> int:
        """Return the bytes of K and V of one token in all layers."""
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim * dtype_bytes

    def _per_layer(self) -> int:
        hidden, inner = self.hidden_size, self.intermediate_size
        q_rows, kv_rows = self.num_q_heads * self.head_dim, self.num_kv_heads * self.head_dim
        products = hidden * (2 * q_rows + 2 * kv_rows + 3 * inner)
        biases = q_rows + 2 * kv_rows if self.attention_bias else 0
        head_norms = 2 * self.head_dim if self.qk_norm else 0
        return products + 2 * hidden + biases + head_norms


def from_flags(
    layers: int, kv_heads: int, head_size: int, params: int, context_window: int
) -> ModelShape:
    """Return a shape of which only what decides memory is known.

    Width, feed-forward and vocabulary are guessed from the number of parameters (12 width² per
    layer, as in a plain transformer); they only enter the activations.
    """
    hidden = max(1, math.isqrt(max(params, 0) // max(12 * layers, 1)))
    return ModelShape(
        num_layers=layers,
        num_q_heads=max(kv_heads, hidden // max(head_size, 1)),
        num_kv_heads=kv_heads,
        head_dim=head_size,
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        vocab_size=131_072,
        context_window=context_window,
        told_parameters=params,
    )


def from_config(raw: Mapping[str, Any], where: str) -> ModelShape:
    """Return the shape in a checkpoint's config.json.

    Raises:
        PlanError: A field is missing or wrong, or the architecture is unknown; names `where`.
    """
    architecture = _known(raw.get("model_type"), where)
    hidden, heads = _whole(raw, "hidden_size", where), _whole(raw, "num_attention_heads", where)
    return ModelShape(
        num_layers=_whole(raw, "num_hidden_layers", where),
        num_q_heads=heads,
        num_kv_heads=_whole(raw, "num_key_value_heads", where, heads),
        head_dim=_whole(raw, "head_dim", where, hidden // max(heads, 1)),
        hidden_size=hidden,
        intermediate_size=_whole(raw, "intermediate_size", where),
        vocab_size=_whole(raw, "vocab_size", where),
        context_window=_window(raw, where),
        tied=bool(raw.get("tie_word_embeddings", False)),
        attention_bias=bool(raw.get("attention_bias", architecture == "qwen2")),
        qk_norm=architecture == "qwen3",
    )


def from_gguf(
    fields: Mapping[str, Any], vocab_size: int, tensors: Collection[str], where: str
) -> ModelShape:
    """Return the shape in a GGUF file's head.

    Args:
        fields: Metadata by key.
        vocab_size: Rows of the tensor token_embd.weight.
        tensors: Names of the file's tensors.
        where: What errors call the file.

    Raises:
        PlanError: As `from_config`.
    """
    name = _known(fields.get("general.architecture"), where)
    hidden = _whole(fields, f"{name}.embedding_length", where)
    heads = _whole(fields, f"{name}.attention.head_count", where)
    head_dim = hidden // max(heads, 1)
    return ModelShape(
        num_layers=_whole(fields, f"{name}.block_count", where),
        num_q_heads=heads,
        num_kv_heads=_whole(fields, f"{name}.attention.head_count_kv", where, heads),
        head_dim=_whole(fields, f"{name}.attention.key_length", where, head_dim),
        hidden_size=hidden,
        intermediate_size=_whole(fields, f"{name}.feed_forward_length", where),
        vocab_size=vocab_size,
        context_window=_whole(fields, f"{name}.context_length", where),
        tied="output.weight" not in tensors,
        attention_bias="blk.0.attn_q.bias" in tensors,
        qk_norm="blk.0.attn_q_norm.weight" in tensors,
    )


def _window(raw: Mapping[str, Any], where: str) -> int:
    window = _whole(raw, "max_position_embeddings", where)
    if raw.get("sliding_window") is None or not raw.get("use_sliding_window", True):
        return window
    return min(window, _whole(raw, "sliding_window", where))


def _known(architecture: object, where: str) -> str:
    if not isinstance(architecture, str) or architecture not in ARCHITECTURES:
        raise PlanError(
            f"{where}: architecture {architecture!r} is not served; {', '.join(ARCHITECTURES)} are"
        )
    return architecture


def _whole(raw: Mapping[str, Any], key: str, where: str, default: int | None = None) -> int:
    value = raw.get(key)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int):
        raise PlanError(f"{where}: {key} is {value!r}; a whole number is needed")
    return value
