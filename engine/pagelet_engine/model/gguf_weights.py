"""Weights from a GGUF file, dequantised while they are read.

The file's head is read by `gguf_metadata`; the arithmetic of its storage formats comes from the
`gguf` package (vectorised numpy). For architecture `llama` converters permute q and k rows to the
interleaved rotary convention, which is the engine's own; other architectures stay half-split.
"""

from pathlib import Path

import numpy as np
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

from pagelet_engine.errors import ModelLoadError
from pagelet_engine.model.config import gguf_model_config
from pagelet_engine.model.gguf_metadata import GgufHeader, GgufTensor
from pagelet_engine.model.weights import Shape

_ROPE_FACTORS = "rope_freqs.weight"
_TOP_LEVEL = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_IN_LAYER = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


class GgufWeights:
    """See `weights.WeightSource`."""

    def __init__(self, header: GgufHeader) -> None:
        """Map the file of an already read head.

        Raises:
            ModelLoadError: A tensor has an unknown format or reaches past the end of the file.
        """
        self._path = header.path
        self._data = _mapped(header.path)
        self._tensors = {hub_name(tensor.name): tensor for tensor in header.tensors}
        for tensor in header.tensors:
            self._check_bounds(tensor)
        factors = self._tensors.pop(_ROPE_FACTORS, None)
        self.rope_factors = (
            None if factors is None else torch.from_numpy(self._dequantised(factors))
        )
        self.interleaved = gguf_model_config(header).architecture == "llama"
        self.shapes: dict[str, Shape] = {
            name: tensor.shape for name, tensor in self._tensors.items()
        }

    def read(self, name: str, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """See `weights.WeightSource.read`."""
        values = torch.from_numpy(self._dequantised(self._tensors[name]))
        return values.to(device=device, dtype=dtype)

    def _dequantised(self, tensor: GgufTensor) -> np.ndarray[Shape, np.dtype[np.float32]]:
        kind = GGMLQuantizationType(tensor.ggml_type)
        raw = self._data[tensor.offset : tensor.offset + _num_bytes(tensor)]
        rows = raw.reshape(*tensor.shape[:-1], -1)
        if kind is GGMLQuantizationType.F32:
            return rows.view(np.float32).copy()
        try:
            values: np.ndarray[Shape, np.dtype[np.float32]] = quants.dequantize(rows, kind)
        except NotImplementedError as error:
            raise ModelLoadError(
                f"{self._path}: tensor {tensor.name} is stored as {kind.name}, which cannot be "
                f"read; convert the model to another quantisation, such as Q4_K or Q8_0."
            ) from error
        return values.astype(np.float32, copy=False)

    def _check_bounds(self, tensor: GgufTensor) -> None:
        if tensor.ggml_type not in {int(kind) for kind in GGML_QUANT_SIZES}:
            raise ModelLoadError(
                f"{self._path}: tensor {tensor.name} has the unknown storage format "
                f"{tensor.ggml_type}."
            )
        block_size = GGML_QUANT_SIZES[GGMLQuantizationType(tensor.ggml_type)][0]
        if 0 in tensor.shape or tensor.shape[-1] % block_size:
            raise ModelLoadError(
                f"{self._path}: tensor {tensor.name} has shape {list(tensor.shape)}, which its "
                f"storage format cannot hold."
            )
        if tensor.offset + _num_bytes(tensor) > len(self._data):
            raise ModelLoadError(
                f"{self._path} is cut short: tensor {tensor.name} should end at byte "
                f"{tensor.offset + _num_bytes(tensor)}, the file has {len(self._data)}. "
                f"Download it again."
            )


def _mapped(path: Path) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    try:
        return np.memmap(path, dtype=np.uint8, mode="r")
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"{path} cannot be mapped: {error}.") from error


def _num_bytes(tensor: GgufTensor) -> int:
    block_size, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(tensor.ggml_type)]
    num_values = 1
    for size in tensor.shape:
        num_values *= size
    return num_values // int(block_size) * int(block_bytes)


def hub_name(name: str) -> str:
    """Return the Hugging Face name, or the name itself, which then counts as unknown."""
    if name in _TOP_LEVEL:
        return _TOP_LEVEL[name]
    prefix, _, rest = name.partition(".")
    index, _, rest = rest.partition(".")
    stem, _, kind = rest.rpartition(".")
    if prefix != "blk" or stem not in _IN_LAYER or kind not in ("weight", "bias"):
        return name
    return f"model.layers.{index}.{_IN_LAYER[stem]}.{kind}"
