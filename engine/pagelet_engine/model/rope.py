"""Rotary position embedding in the interleaved convention: pairs are (2i, 2i + 1).

A pair is then one complex number and the rotation one product. Checkpoints in the half-split
convention (pairs (i, i + head_dim / 2), Hugging Face's) are converted at load time by permuting
the rows that produce q and k; attention scores do not change, since both are permuted alike.

Sources: Su et al. 2021, section 3.4; Llama 3.1's frequency scaling as in its reference code,
https://github.com/meta-llama/llama-models.
"""

import math

import torch

from pagelet_engine.model.config import ModelConfig, RopeScaling


def inverse_frequencies(config: ModelConfig) -> torch.Tensor:
    """Return [head_dim / 2] float32: radians per position of each pair."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    frequencies = 1.0 / config.rope_theta**exponents
    return frequencies if config.rope_scaling is None else _scaled(frequencies, config.rope_scaling)


def rotations(positions: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    """Return [num_tokens, 1, head_dim / 2] complex64 unit numbers for `positions` [num_tokens]."""
    angles = positions.float()[:, None] * frequencies
    return torch.polar(torch.ones_like(angles), angles)[:, None, :]


def rotate(heads: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """Rotate every pair of `heads` [num_tokens, num_heads, head_dim]; same shape and dtype."""
    pairs = torch.view_as_complex(heads.float().view(*heads.shape[:-1], -1, 2))
    rotated: torch.Tensor = torch.view_as_real(pairs * rotation)
    return rotated.flatten(-2).to(heads.dtype)


def interleave_heads(rows: torch.Tensor, head_dim: int) -> torch.Tensor:
    """Reorder half-split rows to interleaved ones.

    Args:
        rows: [num_heads * head_dim, ...], head after head.
        head_dim: Rows per head.
    """
    pairs = rows.view(-1, 2, head_dim // 2, *rows.shape[1:]).transpose(1, 2)
    return pairs.reshape(rows.shape)


def _scaled(frequencies: torch.Tensor, scaling: RopeScaling) -> torch.Tensor:
    """Slow down long wavelengths by `factor`, keep short ones, blend in between."""
    wavelengths = 2 * math.pi / frequencies
    rotations_in_window = scaling.original_max_position_embeddings / wavelengths
    share_kept = (rotations_in_window - scaling.low_freq_factor) / (
        scaling.high_freq_factor - scaling.low_freq_factor
    )
    share_kept = share_kept.clamp(0.0, 1.0)
    return frequencies * (share_kept + (1.0 - share_kept) / scaling.factor)
