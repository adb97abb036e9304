"""Changes logits as sequences asked: bias, penalties, forbidden tokens. In this order.

Each rule gathers the (row, token) cells it touches from all rows that use it, then changes them in
one indexed operation. Everything is computed from the rows alone: nothing is remembered from
step to step, so nothing can be left over from another sequence.

Sources: presence and frequency penalties, https://platform.openai.com/docs/api-reference (chat,
`frequency_penalty`); repetition penalty: Keskar et al. 2019, "CTRL", section 4.1, with negative
logits multiplied, as is usual since.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from pagelet_engine.runner.sampling_row import SamplingRow

Indices = npt.NDArray[np.int64]


def apply_rules(
    logits: torch.Tensor, rows: Sequence[SamplingRow], eos_token_ids: frozenset[int]
) -> None:
    """Change `logits` in place; rows that set none of these parameters keep theirs.

    Args:
        logits: [num_rows, vocab_size] float32.
        rows: One per row of `logits`.
        eos_token_ids: What ends a sequence by itself.
    """
    if not any(row.params.changes_logits for row in rows):
        return
    _add_bias(logits, rows)
    _penalise_repetition(logits, rows)
    _penalise_output(logits, rows)
    _keep_allowed(logits, rows)
    forbidden = [_forbidden(row, eos_token_ids) for row in rows]
    _put(logits, _cells(logits, forbidden), float("-inf"))


def _add_bias(logits: torch.Tensor, rows: Sequence[SamplingRow]) -> None:
    vocab_size = logits.shape[-1]
    given = [
        [(token, bias) for token, bias in row.params.logit_bias if 0 <= token < vocab_size]
        for row in rows
    ]
    cells = _cells(logits, ([token for token, _ in pairs] for pairs in given))
    if len(cells):
        values = torch.tensor([bias for pairs in given for _, bias in pairs]).to(logits)
        logits.view(-1)[_on(logits, cells)] += values


def _penalise_repetition(logits: torch.Tensor, rows: Sequence[SamplingRow]) -> None:
    seen_ids = (row.token_ids if row.params.repetition_penalty != 1.0 else () for row in rows)
    cells = np.unique(_cells(logits, seen_ids))
    if len(cells):
        penalty = _per_cell(logits, cells, [row.params.repetition_penalty for row in rows])
        index = _on(logits, cells)
        seen = logits.view(-1)[index]
        logits.view(-1)[index] = torch.where(seen > 0, seen / penalty, seen * penalty)


def _penalise_output(logits: torch.Tensor, rows: Sequence[SamplingRow]) -> None:
    cells, counts = np.unique(
        _cells(logits, (row.output_token_ids if _counts(row) else () for row in rows)),
        return_counts=True,
    )
    if len(cells):
        presence = _per_cell(logits, cells, [row.params.presence_penalty for row in rows])
        frequency = _per_cell(logits, cells, [row.params.frequency_penalty for row in rows])
        times = torch.from_numpy(counts).to(logits)
        logits.view(-1)[_on(logits, cells)] -= presence + frequency * times


def _counts(row: SamplingRow) -> bool:
    return row.params.presence_penalty != 0.0 or row.params.frequency_penalty != 0.0


def _keep_allowed(logits: torch.Tensor, rows: Sequence[SamplingRow]) -> None:
    limited = [i for i, row in enumerate(rows) if row.params.allowed_token_ids is not None]
    if limited:
        cells = _cells(logits, (row.params.allowed_token_ids or () for row in rows))
        index = _on(logits, cells)
        kept = logits.view(-1)[index]
        logits[limited] = float("-inf")
        logits.view(-1)[index] = kept


def _forbidden(row: SamplingRow, eos_token_ids: frozenset[int]) -> list[int]:
    """Return the ids that `row` must not get now."""
    params = row.params
    forbidden = [word[-1] for word in params.bad_words if _would_complete(row, word)]
    if row.num_output_tokens < params.min_tokens:
        forbidden += params.stop_token_ids
        forbidden += () if params.ignore_eos else eos_token_ids
    return forbidden


def _would_complete(row: SamplingRow, word: tuple[int, ...]) -> bool:
    """Whether the output ends in all of `word` but its last token."""
    length = len(word) - 1
    if length > row.num_output_tokens:
        return False
    return tuple(row.token_ids[len(row.token_ids) - length :]) == word[:-1]


def _cells(logits: torch.Tensor, token_ids: Iterable[Sequence[int]]) -> Indices:
    """Return flat indices into `logits`, given each row's token ids.

    Ids outside the vocabulary are left out: the edge refuses them, and one that slipped through
    must not reach another row's cells.
    """
    vocab_size = logits.shape[-1]
    parts = [
        ids[(ids >= 0) & (ids < vocab_size)] + index * vocab_size
        for index, row_ids in enumerate(token_ids)
        if len(row_ids) and len(ids := np.array(row_ids, np.int64))
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _per_cell(logits: torch.Tensor, cells: Indices, values: list[float]) -> torch.Tensor:
    """Return each cell's row's value."""
    return torch.from_numpy(np.array(values)[cells // logits.shape[-1]]).to(logits)


def _put(logits: torch.Tensor, cells: Indices, value: float) -> None:
    if len(cells):
        logits.view(-1)[_on(logits, cells)] = value


def _on(logits: torch.Tensor, cells: Indices) -> torch.Tensor:
    return torch.from_numpy(cells).to(logits.device)
