"""Draws the next token of each sequence from its logits.

A draw turns one uniform number into a token by inverting the cumulative distribution. The number
comes from a counter-based generator keyed by the sequence's seed and the token's position, so it
depends neither on the batch nor on how often the sequence was preempted. All rows are drawn
together, by operations that treat each row by itself.

Source of the generator: Steele, Lea, Flood 2014, "Fast Splittable Pseudorandom Number
Generators" (SplitMix64's finaliser).
"""

from collections.abc import Sequence

import torch

from pagelet_engine.core.draw import Draw, NoToken
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.runner.logit_rules import apply_rules
from pagelet_engine.runner.sampling_row import SamplingRow

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MIN_TEMPERATURE = 1e-4
"""Below this the distribution is a single token in float32, and logits / temperature overflows."""
_SHORTLIST = 1024
"""PERF: sorting a row of 49k logits takes 3 ms, picking its largest 1024 takes 0.3 ms; top_p rarely
reaches further."""


def sample(
    logits: torch.Tensor,
    rows: Sequence[SamplingRow],
    eos_token_ids: frozenset[int] = frozenset(),
    allowed: torch.Tensor | None = None,
) -> list[Draw]:
    """Return a token for each row, or why there is none.

    Args:
        logits: [num_rows, vocab_size] float32; changed in place where a row's parameters say so.
        rows: One per row of `logits`.
        eos_token_ids: What ends a sequence by itself; `min_tokens` forbids it.
        allowed: [num_rows, vocab_size] bool, what may be drawn at all; None: everything.
    """
    why_not = _why_not(logits, rows, allowed)
    if allowed is not None:
        logits.masked_fill_(~allowed, float("-inf"))
    apply_rules(logits, rows, eos_token_ids)
    largest, greedy = logits.max(dim=-1)  # NaN and +inf win, so one look at the maximum suffices
    finite = largest.isfinite().tolist()
    tokens: list[Draw] = [
        token if is_finite else reason
        for token, is_finite, reason in zip(greedy.tolist(), finite, why_not, strict=True)
    ]
    drawn = [
        index
        for index, row in enumerate(rows)
        if finite[index] and row.params.temperature >= _MIN_TEMPERATURE
    ]
    if drawn:
        some = logits if len(drawn) == len(rows) else logits[drawn]
        for index, token in zip(drawn, _draw(some, [rows[i] for i in drawn]), strict=True):
            tokens[index] = token
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


def _why_not(
    logits: torch.Tensor, rows: Sequence[SamplingRow], allowed: torch.Tensor | None
) -> list[NoToken]:
    """Return what is to blame should a row have no token: the model, unless its logits are fine."""
    if allowed is None and not any(row.params.forbids_tokens for row in rows):
        return [NoToken.NOT_FINITE] * len(rows)
    is_finite = logits.amax(dim=-1).isfinite().tolist()
    return [NoToken.NONE_ALLOWED if fine else NoToken.NOT_FINITE for fine in is_finite]


def _draw(logits: torch.Tensor, rows: Sequence[SamplingRow]) -> list[int]:
    """Return a token for each row; all have a temperature and a finite largest logit."""
    temperature = _column(logits, [row.params.temperature for row in rows])
    # float64: a float32 sum over a vocabulary is off by more than the rarest tokens weigh.
    weights = torch.softmax(logits.double().div_(temperature), dim=-1)
    min_p = _column(logits, [row.params.min_p for row in rows])
    if any(row.params.min_p for row in rows):
        weights.masked_fill_(weights < min_p * weights.max(dim=-1, keepdim=True).values, 0.0)
    points = _column(logits, [uniform(row.seed, row.position) for row in rows])
    # Which way a row goes depends on itself only, so its company cannot change its token.
    tokens = torch.empty(len(rows), dtype=torch.int64, device=logits.device)
    plain = [i for i, row in enumerate(rows) if not _is_cut(row.params)]
    if plain:
        tokens[plain] = _pick(_take(weights, plain), _take(points, plain))
    cut = [i for i, row in enumerate(rows) if _is_cut(row.params)]
    if cut:
        params = [rows[i].params for i in cut]
        tokens[cut] = _pick_cut(_take(weights, cut), params, _take(points, cut))
    return tokens.tolist()


def _is_cut(params: SamplingParams) -> bool:
    return params.top_k > 0 or params.top_p < 1.0


def _pick_cut(
    weights: torch.Tensor, params: Sequence[SamplingParams], points: torch.Tensor
) -> torch.Tensor:
    """Return an index per row of `weights`, within what top_k and then top_p leave of it."""
    vocab_size = weights.shape[-1]
    limits = [min(param.top_k or vocab_size, vocab_size) for param in params]
    largest, token_ids = weights.topk(min(_SHORTLIST, vocab_size))
    picked = _pick_within(largest, token_ids, limits, params, points)
    reached, least = largest.cumsum(-1)[:, -1].tolist(), largest[:, -1].tolist()
    short = [
        i
        for i, param in enumerate(params)
        if limits[i] > _SHORTLIST and least[i] > 0 and (param.top_k or reached[i] < param.top_p)
    ]
    if short:
        ordered, ids = weights[short].sort(descending=True, stable=True)
        some = [params[i] for i in short]
        picked[short] = _pick_within(ordered, ids, [limits[i] for i in short], some, points[short])
    return picked


def _pick_within(
    largest: torch.Tensor,
    token_ids: torch.Tensor,
    limits: Sequence[int],
    params: Sequence[SamplingParams],
    points: torch.Tensor,
) -> torch.Tensor:
    """Return a token per row; `largest` [num_rows, num_candidates] falls along each row."""
    places = torch.arange(largest.shape[-1], device=largest.device)
    kept = largest.masked_fill(places >= _column(largest, limits), 0.0)
    up_to = kept.cumsum(-1)
    # A token stays if those before it do not reach top_p yet; so the first always stays. After
    # top_k the rest is a distribution of its own, as in the reference samplers; what min_p took
    # lies behind everything else, so its share still counts for top_p.
    top_k = _column(largest, [param.top_k for param in params])
    total = torch.where(top_k > 0, up_to[:, -1:], 1.0)
    top_p = _column(largest, [param.top_p for param in params])
    outside = (up_to - kept >= top_p * total) & (top_p < 1.0)
    return token_ids.gather(-1, _pick(kept.masked_fill_(outside, 0.0), points)[:, None])[:, 0]


def _pick(weights: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Return where each row's cumulative share of `weights` passes its point in [0, 1).

    Args:
        weights: [num_rows, num_candidates] float64, at least one above 0 in each row.
        points: [num_rows, 1] float64.
    """
    cumulative = weights.cumsum(-1)
    index = torch.searchsorted(cumulative, points * cumulative[:, -1:], right=True)[:, 0]
    # Rounding may put the point on the very end, behind which only tokens of no weight lie.
    last = torch.searchsorted(cumulative, cumulative[:, -1:].contiguous())[:, 0]
    return torch.minimum(index, last)


def _column(like: torch.Tensor, values: Sequence[float]) -> torch.Tensor:
    """Return `values` as [num_rows, 1] float64 beside `like`."""
    return torch.tensor(values, dtype=torch.float64, device=like.device)[:, None]


def _take(tensor: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
    # PERF: no copy where all rows go the same way, which is the usual case.
    return tensor if len(rows) == tensor.shape[0] else tensor[list(rows)]
