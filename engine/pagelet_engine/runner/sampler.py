"""Draws the next token of each sequence from its logits.

A draw turns one uniform number into a token by inverting the cumulative distribution. The number
comes from a counter-based generator keyed by the sequence's seed and the token's position, so it
depends neither on the batch nor on how often the sequence was preempted.

Source of the generator: Steele, Lea, Flood 2014, "Fast Splittable Pseudorandom Number
Generators" (SplitMix64's finaliser).
"""

from dataclasses import dataclass

import torch

from pagelet_engine.core.sampling_params import SamplingParams

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MIN_TEMPERATURE = 1e-4
"""Below this the distribution is a single token in float32, and logits / temperature overflows."""
_SHORTLIST = 1024
"""PERF: sorting a row of 49k logits takes 3 ms, picking its largest 1024 takes 0.3 ms; top_p rarely
reaches further."""


@dataclass(frozen=True, slots=True)
class SamplingRow:
    """How to draw from one row of logits."""

    params: SamplingParams
    seed: int
    """The sequence's own, whether or not the client gave it."""
    position: int
    """Index of the token to draw in its sequence."""


def sample(logits: torch.Tensor, rows: list[SamplingRow]) -> list[int | None]:
    """Return a token for each row, or None where the logits are not finite.

    Args:
        logits: [num_rows, vocab_size] float32.
        rows: One per row of `logits`.
    """
    largest, greedy = logits.max(dim=-1)  # NaN and +inf win, so one look at the maximum suffices
    tokens: list[int | None] = [
        token if finite else None
        for token, finite in zip(greedy.tolist(), largest.isfinite().tolist(), strict=True)
    ]
    for index, row in enumerate(rows):
        if tokens[index] is not None and row.params.temperature >= _MIN_TEMPERATURE:
            tokens[index] = _draw(logits[index], row)
    return tokens


def uniform(seed: int, position: int) -> float:
    """Return a number in [0, 1) that depends on both arguments and nothing else."""
    return (mix(seed + mix(position)) >> 11) * 2.0**-53


def mix(value: int) -> int:
    """Return 64 well-mixed bits of `value`."""
    value = (value + _GOLDEN) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def _draw(logits: torch.Tensor, row: SamplingRow) -> int:
    params = row.params
    # float64: a float32 sum over a vocabulary is off by more than the rarest tokens weigh.
    weights = torch.softmax(logits.double() / params.temperature, dim=0)
    point = uniform(row.seed, row.position)
    if params.top_k == 0 and params.top_p == 1.0:
        return _pick(weights, point)
    candidates, token_ids = _candidates(weights, params)
    return int(token_ids[_pick(candidates, point)])


def _candidates(weights: torch.Tensor, params: SamplingParams) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weights and ids of the tokens that top_k and then top_p leave, largest first."""
    vocab_size = weights.shape[0]
    limit = min(params.top_k or vocab_size, vocab_size)
    largest, token_ids = weights.topk(min(limit, _SHORTLIST))
    if limit > _SHORTLIST and (params.top_p == 1.0 or float(largest.sum()) < params.top_p):
        largest, token_ids = weights.sort(descending=True, stable=True)
        largest, token_ids = largest[:limit], token_ids[:limit]
    if params.top_p == 1.0:
        return largest, token_ids
    # A token stays if those before it do not reach top_p yet; so the first always stays. After
    # top_k the rest is a distribution of its own, as in the reference samplers.
    total = largest.sum() if params.top_k else torch.ones((), dtype=largest.dtype)
    before = largest.cumsum(0) - largest
    num_kept = int((before < params.top_p * total).sum())
    return largest[:num_kept], token_ids[:num_kept]


def _pick(weights: torch.Tensor, point: float) -> int:
    """Return the index where the cumulative share of `weights` passes `point` in [0, 1)."""
    cumulative = weights.cumsum(0)
    index = int(torch.searchsorted(cumulative, point * float(cumulative[-1]), right=True))
    return min(index, weights.shape[0] - 1)
