"""Weights from a folder of *.safetensors files. Nothing is ever unpickled."""

import json
import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from pagelet_engine.errors import ModelLoadError
from pagelet_engine.model.weights import Shape

_INDEX = "model.safetensors.index.json"
# Buffers old exporters wrote along; they follow from the configuration.
_DERIVED = re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq")


class SafetensorsWeights:
    """See `weights.WeightSource`."""

    interleaved = False
    rope_factors: torch.Tensor | None = None

    def __init__(self, folder: Path) -> None:
        """Open every file and read the heads.

        Raises:
            ModelLoadError: A file is missing, corrupt or cut short, or a tensor is in two files.
        """
        self._files: dict[str, tuple[Path, safe_open]] = {}
        self.shapes: dict[str, Shape] = {}
        for path in _shard_paths(folder):
            self._open(path)

    def read(self, name: str, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """See `weights.WeightSource.read`."""
        path, file = self._files[name]
        try:
            tensor: torch.Tensor = file.get_tensor(name)  # type: ignore[no-untyped-call]
        except (SafetensorError, OSError) as error:
            raise ModelLoadError(f"{path}: tensor {name} cannot be read: {error}.") from error
        if not tensor.is_floating_point():
            raise ModelLoadError(
                f"{path}: tensor {name} is stored as {tensor.dtype}; quantised safetensors are "
                f"not supported. Use the float16 or bfloat16 checkpoint, or a GGUF file."
            )
        return tensor.to(device=device, dtype=dtype)

    def _open(self, path: Path) -> None:
        try:
            file = safe_open(path, framework="pt")
            for name in _names(file):
                if _DERIVED.fullmatch(name):
                    continue
                if name in self._files:
                    raise ModelLoadError(f"Tensor {name} is in {self._files[name][0]} and {path}.")
                self._files[name] = (path, file)
                self.shapes[name] = _shape(file, name)
        except (SafetensorError, OSError) as error:
            raise ModelLoadError(
                f"{path} is corrupt or cut short: {error}. Download it again."
            ) from error


def _names(file: safe_open) -> list[str]:
    return [str(name) for name in file.keys()]  # type: ignore[no-untyped-call]  # noqa: SIM118


def _shape(file: safe_open, name: str) -> Shape:
    return tuple(file.get_slice(name).get_shape())  # type: ignore[no-untyped-call]


def _shard_paths(folder: Path) -> list[Path]:
    index = folder / _INDEX
    if not index.is_file():
        paths = sorted(folder.glob("*.safetensors"))
        if not paths:
            raise ModelLoadError(
                f"{folder} holds no *.safetensors file; convert the weights to safetensors."
            )
        return paths
    try:
        names = sorted({str(name) for name in json.loads(index.read_text())["weight_map"].values()})
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelLoadError(f"{index} cannot be read as a weight index: {error!r}.") from error
    missing = [name for name in names if Path(name).name != name or not (folder / name).is_file()]
    if missing:
        raise ModelLoadError(f"{index} names {missing[0]!r}, which is not in {folder}.")
    return [folder / name for name in names]
