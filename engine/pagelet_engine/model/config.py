"""A model's shape, read from a GGUF file's fields or from config.json. No torch, no weights.

One family is known: decoder-only transformers in the manner of Llama (RMSNorm, rotary positions,
grouped-query attention, gated SiLU), with the small differences of Mistral, Qwen2 and Qwen3 as
flags. Anything else is refused by name, since guessing would produce fluent nonsense.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pagelet_engine.errors import ModelLoadError
from pagelet_engine.model.gguf_metadata import GgufHeader, read_gguf_header
from pagelet_engine.model.source import DUMMY_SCHEME

ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3")


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeScaling:
    """Llama 3's stretching of the rotary frequencies for long contexts.

    Source: https://huggingface.co/meta-llama/Llama-3.1-8B, config.json `rope_scaling`.
    """

    factor: float
    """By how much the longest wavelengths grow."""
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int
    """Context window before stretching, tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The numbers that fix every tensor's shape and the arithmetic between them."""

    architecture: str
    """One of ARCHITECTURES."""
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_q_heads: int
    num_kv_heads: int
    head_dim: int
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    rms_norm_eps: float = 1e-5
    max_position_embeddings: int = 2048
    """Context window, tokens."""
    tie_word_embeddings: bool = False
    """The LM head is the embedding matrix."""
    attention_bias: bool = False
    """q, k and v products have a bias (Qwen2)."""
    qk_norm: bool = False
    """q and k heads are RMS-normalised before rotation (Qwen3)."""
    eos_token_ids: tuple[int, ...] = ()
    """Ids that end a sequence unless it ignores them."""
    torch_dtype: str = "float32"
    """The dtype the weights were published in; informative."""

    def __post_init__(self) -> None:
        """Refuse shapes no model has.

        Raises:
            ModelLoadError: The message names the values.
        """
        for name in ("vocab_size", "hidden_size", "intermediate_size", "num_layers", "num_q_heads",
                     "num_kv_heads", "head_dim", "max_position_embeddings"):  # fmt: skip
            if getattr(self, name) < 1:
                raise ModelLoadError(
                    f"The model's {name} is {getattr(self, name)}; it must be > 0."
                )
        for name in ("rope_theta", "rms_norm_eps"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ModelLoadError(f"The model's {name} is {value}; it must be finite and > 0.")
        if self.num_q_heads % self.num_kv_heads:
            raise ModelLoadError(
                f"The model has {self.num_q_heads} query heads and {self.num_kv_heads} KV heads; "
                f"the first must be a multiple of the second."
            )
        if self.head_dim % 2:
            raise ModelLoadError(f"The model's head_dim is {self.head_dim}; rotation needs pairs.")
        wrong = [token for token in self.eos_token_ids if not 0 <= token < self.vocab_size]
        if wrong:
            raise ModelLoadError(
                f"End-of-sequence ids {wrong} are outside the vocabulary of {self.vocab_size}."
            )


_DUMMIES = {
    "tiny": ModelConfig(
        architecture="llama", vocab_size=512, hidden_size=64, intermediate_size=128, num_layers=2,
        num_q_heads=4, num_kv_heads=2, head_dim=16, max_position_embeddings=512,
        tie_word_embeddings=True, eos_token_ids=(0,),
    ),
    "smollm2-135m": ModelConfig(
        architecture="llama", vocab_size=49152, hidden_size=576, intermediate_size=1536,
        num_layers=30, num_q_heads=9, num_kv_heads=3, head_dim=64, rope_theta=100_000.0,
        max_position_embeddings=8192, tie_word_embeddings=True, eos_token_ids=(2,),
        torch_dtype="bfloat16",
    ),
    "llama-3.1-8b": ModelConfig(
        architecture="llama", vocab_size=128256, hidden_size=4096, intermediate_size=14336,
        num_layers=32, num_q_heads=32, num_kv_heads=8, head_dim=128, rope_theta=500_000.0,
        rope_scaling=RopeScaling(
            factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=8192,
        ),
        max_position_embeddings=131072, eos_token_ids=(128001, 128008, 128009),
        torch_dtype="bfloat16",
    ),
}  # fmt: skip


def dummy_model_config(source: str) -> ModelConfig:
    """Return the shape that `dummy://NAME` stands for.

    Raises:
        ModelLoadError: The name is unknown; the message lists the known ones.
    """
    name = source.removeprefix(DUMMY_SCHEME)
    if name not in _DUMMIES:
        raise ModelLoadError(
            f"There is no dummy model {name!r}; choose one of {', '.join(sorted(_DUMMIES))}."
        )
    return _DUMMIES[name]


def load_model_config(path: Path) -> ModelConfig:
    """Read the shape of the model at `path`, as `source.resolve_source` returned it.

    Args:
        path: A .gguf file, or a folder with config.json.

    Raises:
        ModelLoadError: Unreadable, an unknown architecture, or a value no model has.
    """
    if path.is_dir():
        return _from_folder(path)
    return gguf_model_config(read_gguf_header(path))


def gguf_model_config(header: GgufHeader) -> ModelConfig:
    """Return the shape in an already read GGUF head; raises like `load_model_config`."""
    arch = header.string("general.architecture")
    _check_architecture(arch, str(header.path))
    scaling = header.string(f"{arch}.rope.scaling.type", "none")
    if scaling != "none":
        raise ModelLoadError(
            f"{header.path}: rope scaling {scaling!r} is not supported; llama3 scaling is (its "
            f"factors come as tensor rope_freqs.weight)."
        )
    hidden_size = header.integer(f"{arch}.embedding_length")
    num_q_heads = header.integer(f"{arch}.attention.head_count")
    names = {tensor.name: tensor for tensor in header.tensors}
    embedding = names.get("token_embd.weight")
    if embedding is None:
        raise ModelLoadError(f"{header.path} has no tensor token_embd.weight.")
    return ModelConfig(
        architecture=arch,
        vocab_size=embedding.shape[0],
        hidden_size=hidden_size,
        intermediate_size=header.integer(f"{arch}.feed_forward_length"),
        num_layers=header.integer(f"{arch}.block_count"),
        num_q_heads=num_q_heads,
        num_kv_heads=header.integer(f"{arch}.attention.head_count_kv", num_q_heads),
        head_dim=header.integer(f"{arch}.attention.key_length", hidden_size // max(num_q_heads, 1)),
        rope_theta=header.number(f"{arch}.rope.freq_base", 10_000.0),
        rms_norm_eps=header.number(f"{arch}.attention.layer_norm_rms_epsilon"),
        max_position_embeddings=header.integer(f"{arch}.context_length"),
        tie_word_embeddings="output.weight" not in names,
        attention_bias="blk.0.attn_q.bias" in names,
        qk_norm="blk.0.attn_q_norm.weight" in names,
        eos_token_ids=_gguf_eos_token_ids(header),
    )


def _gguf_eos_token_ids(header: GgufHeader) -> tuple[int, ...]:
    keys = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id")
    return tuple(dict.fromkeys(header.integer(key) for key in keys if key in header.fields))


def _from_folder(folder: Path) -> ModelConfig:
    raw = _read_json(folder / "config.json")
    generation = folder / "generation_config.json"
    eos = _read_json(generation).get("eos_token_id") if generation.is_file() else None
    architecture = str(raw.get("model_type"))
    _check_architecture(architecture, str(folder / "config.json"))
    _check_activation(raw, folder)
    try:
        return _from_json(raw, architecture, raw.get("eos_token_id") if eos is None else eos)
    except KeyError as error:
        raise ModelLoadError(f"{folder / 'config.json'} has no {error.args[0]!r}.") from error
    except (TypeError, ValueError) as error:
        raise ModelLoadError(f"{folder / 'config.json'} holds a wrong value: {error}.") from error


def _from_json(raw: dict[str, Any], architecture: str, eos: Any) -> ModelConfig:
    num_q_heads = int(raw["num_attention_heads"])
    hidden_size = int(raw["hidden_size"])
    return ModelConfig(
        architecture=architecture,
        vocab_size=int(raw["vocab_size"]),
        hidden_size=hidden_size,
        intermediate_size=int(raw["intermediate_size"]),
        num_layers=int(raw["num_hidden_layers"]),
        num_q_heads=num_q_heads,
        num_kv_heads=int(raw.get("num_key_value_heads") or num_q_heads),
        head_dim=int(raw.get("head_dim") or hidden_size // max(num_q_heads, 1)),
        rope_theta=float(_rope_parameters(raw).get("rope_theta") or raw.get("rope_theta") or 1e4),
        rope_scaling=_rope_scaling(_rope_parameters(raw)),
        rms_norm_eps=float(raw.get("rms_norm_eps", 1e-6)),
        max_position_embeddings=_context_window(raw),
        tie_word_embeddings=bool(raw.get("tie_word_embeddings", False)),
        attention_bias=bool(raw.get("attention_bias", architecture == "qwen2")),
        qk_norm=architecture == "qwen3",
        eos_token_ids=_token_ids(eos),
        torch_dtype=str(raw.get("dtype") or raw.get("torch_dtype") or "float32"),
    )


def _rope_parameters(raw: dict[str, Any]) -> dict[str, Any]:
    # Files written since 2025 hold one dictionary with theta in it, older ones rope_scaling.
    value = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    if not isinstance(value, dict):
        raise ValueError(f"rope_scaling is {value!r}, not an object")
    return value


def _rope_scaling(raw: dict[str, Any]) -> RopeScaling | None:
    kind = raw.get("rope_type") or raw.get("type") or "default"
    if kind == "default":
        return None
    if kind != "llama3":
        raise ModelLoadError(f"Rope scaling {kind!r} is not supported; llama3 is.")
    return RopeScaling(
        factor=float(raw["factor"]),
        low_freq_factor=float(raw["low_freq_factor"]),
        high_freq_factor=float(raw["high_freq_factor"]),
        original_max_position_embeddings=int(raw["original_max_position_embeddings"]),
    )


def _context_window(raw: dict[str, Any]) -> int:
    window = int(raw["max_position_embeddings"])
    sliding = raw.get("sliding_window")
    if sliding is None or not raw.get("use_sliding_window", True):
        return window
    # Inside its sliding window such a model attends to everything, as we always do.
    return min(window, int(sliding))


def _token_ids(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    return tuple(int(item) for item in value) if isinstance(value, list) else (int(value),)


def _check_architecture(architecture: str, where: str) -> None:
    if architecture not in ARCHITECTURES:
        raise ModelLoadError(
            f"{where}: architecture {architecture!r} is not supported; supported are "
            f"{', '.join(ARCHITECTURES)}."
        )


def _check_activation(raw: dict[str, Any], folder: Path) -> None:
    activation = raw.get("hidden_act", "silu")
    if activation != "silu":
        raise ModelLoadError(
            f"{folder / 'config.json'}: hidden_act {activation!r} is not supported; silu is."
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(value, dict):
        raise ModelLoadError(f"{path} must hold a JSON object.")
    return value
