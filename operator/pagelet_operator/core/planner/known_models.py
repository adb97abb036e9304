"""Shapes of models that people plan for before they have the files, by their source.

Each is the config.json of the repository of that name on https://huggingface.co. What is not
here is read from `--config FILE`, from a local checkpoint, or said by flags.
"""

from collections.abc import Mapping
from types import MappingProxyType

from pagelet_operator.core.planner.shape import ModelShape

_TINY = ModelShape(
    num_layers=2, num_q_heads=4, num_kv_heads=2, head_dim=16, hidden_size=64,
    intermediate_size=128, vocab_size=512, context_window=512, tied=True,
)  # fmt: skip
_SMOLLM2_135M = ModelShape(
    num_layers=30, num_q_heads=9, num_kv_heads=3, head_dim=64, hidden_size=576,
    intermediate_size=1536, vocab_size=49152, context_window=8192, tied=True,
)  # fmt: skip
_LLAMA_3_1_8B = ModelShape(
    num_layers=32, num_q_heads=32, num_kv_heads=8, head_dim=128, hidden_size=4096,
    intermediate_size=14336, vocab_size=128256, context_window=131072,
)  # fmt: skip
_LLAMA_3_1_70B = ModelShape(
    num_layers=80, num_q_heads=64, num_kv_heads=8, head_dim=128, hidden_size=8192,
    intermediate_size=28672, vocab_size=128256, context_window=131072,
)  # fmt: skip
_LLAMA_3_2_1B = ModelShape(
    num_layers=16, num_q_heads=32, num_kv_heads=8, head_dim=64, hidden_size=2048,
    intermediate_size=8192, vocab_size=128256, context_window=131072, tied=True,
)  # fmt: skip
_LLAMA_3_2_3B = ModelShape(
    num_layers=28, num_q_heads=24, num_kv_heads=8, head_dim=128, hidden_size=3072,
    intermediate_size=8192, vocab_size=128256, context_window=131072, tied=True,
)  # fmt: skip
_MISTRAL_7B = ModelShape(
    num_layers=32, num_q_heads=32, num_kv_heads=8, head_dim=128, hidden_size=4096,
    intermediate_size=14336, vocab_size=32768, context_window=32768,
)  # fmt: skip
_QWEN2_5_7B = ModelShape(
    num_layers=28, num_q_heads=28, num_kv_heads=4, head_dim=128, hidden_size=3584,
    intermediate_size=18944, vocab_size=152064, context_window=32768, attention_bias=True,
)  # fmt: skip
_QWEN3_8B = ModelShape(
    num_layers=36, num_q_heads=32, num_kv_heads=8, head_dim=128, hidden_size=4096,
    intermediate_size=12288, vocab_size=151936, context_window=40960, qk_norm=True,
)  # fmt: skip

KNOWN: Mapping[str, ModelShape] = MappingProxyType(
    {
        "dummy://tiny": _TINY,
        "dummy://smollm2-135m": _SMOLLM2_135M,
        "dummy://llama-3.1-8b": _LLAMA_3_1_8B,
        "hf://HuggingFaceTB/SmolLM2-135M-Instruct": _SMOLLM2_135M,
        "hf://meta-llama/Llama-3.1-8B-Instruct": _LLAMA_3_1_8B,
        "hf://meta-llama/Llama-3.1-70B-Instruct": _LLAMA_3_1_70B,
        "hf://meta-llama/Llama-3.2-1B-Instruct": _LLAMA_3_2_1B,
        "hf://meta-llama/Llama-3.2-3B-Instruct": _LLAMA_3_2_3B,
        "hf://mistralai/Mistral-7B-Instruct-v0.3": _MISTRAL_7B,
        "hf://Qwen/Qwen2.5-7B-Instruct": _QWEN2_5_7B,
        "hf://Qwen/Qwen3-8B": _QWEN3_8B,
    }
)
"""By the resource's `model.source`."""
