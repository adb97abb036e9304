"""From the `model` setting to a model in memory."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pagelet_engine.model.config import (
    ModelConfig,
    dummy_model_config,
    gguf_model_config,
    load_model_config,
)
from pagelet_engine.model.dummy_weights import DummyWeights
from pagelet_engine.model.gguf_metadata import read_gguf_header
from pagelet_engine.model.llama import Llama
from pagelet_engine.model.source import is_dummy, resolve_source
from pagelet_engine.model.weights import LM_HEAD, WeightSource, check_tensors, read_interleaved


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model that was found and whose tensors were accounted for, its weights still unread."""

    config: ModelConfig
    weights: WeightSource
    where: str

    def load(self, dtype: torch.dtype, device: torch.device) -> Llama:
        """Read the weights.

        Raises:
            ModelLoadError: A tensor's data is corrupt or in an unknown format.
        """
        with torch.inference_mode():
            return Llama(self.config, self._getter(dtype, device), self.weights.rope_factors)

    def _getter(self, dtype: torch.dtype, device: torch.device) -> Callable[[str], torch.Tensor]:
        return lambda name: read_interleaved(self.weights, self.config, name, dtype, device)


def open_checkpoint(source: str, revision: str | None = None) -> Checkpoint:
    """Find a model and check its tensors' names and shapes, reading only the files' heads.

    Raises:
        ModelLoadError: Not found, not supported, corrupt, or tensors missing or left over.
    """
    if is_dummy(source):
        config = dummy_model_config(source)
        return Checkpoint(config, DummyWeights(config), source)
    path = resolve_source(source, revision)
    config, weights = _open(path)
    if LM_HEAD in weights.shapes and config.tie_word_embeddings:
        # Some exporters write the tied matrix twice; what the file holds is what counts.
        config = replace(config, tie_word_embeddings=False)
    check_tensors(weights, config, str(path))
    return Checkpoint(config, weights, str(path))


def _open(path: Path) -> tuple[ModelConfig, WeightSource]:
    # Imported here: each costs a start-up of the other kind 0.1 s and more.
    if path.is_dir():
        from pagelet_engine.model.safetensors_weights import SafetensorsWeights

        return load_model_config(path), SafetensorsWeights(path)
    from pagelet_engine.model.gguf_weights import GgufWeights

    header = read_gguf_header(path)
    return gguf_model_config(header), GgufWeights(header)
