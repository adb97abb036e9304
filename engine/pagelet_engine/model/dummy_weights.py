"""Random weights of a given shape, for benchmarks and tests: the same numbers every time."""

import torch

from pagelet_engine.model.config import ModelConfig
from pagelet_engine.model.weights import Shape, expected_tensors

_SCALE = 0.02


class DummyWeights:
    """See `weights.WeightSource`."""

    interleaved = True
    rope_factors: torch.Tensor | None = None

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        self.shapes: dict[str, Shape] = expected_tensors(config)
        self._seeds = {name: seed + index for index, name in enumerate(self.shapes)}

    def read(self, name: str, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """See `weights.WeightSource.read`."""
        if name.endswith("norm.weight"):
            return torch.ones(self.shapes[name], dtype=dtype, device=device)
        generator = torch.Generator(device).manual_seed(self._seeds[name])
        tensor = torch.empty(self.shapes[name], dtype=dtype, device=device)
        return tensor.normal_(0.0, _SCALE, generator=generator)
