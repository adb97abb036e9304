"""Lays out one step: which token goes in which row, and where its K/V is written."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pagelet_engine.attention.metadata import AttentionMetadata
from pagelet_engine.core.step_plan import ScheduledSequence, StepPlan
from pagelet_engine.runner.block_tables import BlockTables

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class InputBatch:
    """The tensors of one forward pass."""

    token_ids: torch.Tensor
    """[num_tokens] int64"""
    positions: torch.Tensor
    """[num_tokens] int64"""
    attention: AttentionMetadata
    sampled_rows: torch.Tensor
    """[num_sampled] int64: the row of each item of `StepPlan.sampling`, in that order."""
    first_rows: dict[int, int]
    """The row where each sequence's run of tokens starts, by sequence id."""
    fresh_blocks: list[int]
    """Blocks that changed hands since the last step and must be cleared."""


def build_batch(
    plan: StepPlan, tables: BlockTables, block_size: int, device: torch.device
) -> InputBatch:
    """Return the tensors of `plan`, decodes first and by rising length."""
    for seq_id in plan.released:
        tables.release(seq_id)
    items = sorted(plan.scheduled, key=_decodes_by_length)
    rows, fresh_blocks = _sync_rows(items, tables, block_size)
    starts = np.array([item.start for item in items], np.int64)
    query_lens = np.array([item.num_tokens for item in items], np.int64)
    ends = query_lens.cumsum()
    positions = np.arange(ends[-1], dtype=np.int64) + (starts - ends + query_lens).repeat(
        query_lens
    )
    blocks = tables.array[rows.repeat(query_lens), positions // block_size]
    seq_lens = starts + query_lens
    max_blocks = -(-int(seq_lens.max()) // block_size)
    metadata = AttentionMetadata(
        num_decodes=int((query_lens == 1).sum()),
        query_lens=query_lens.tolist(),
        seq_lens=seq_lens.tolist(),
        block_tables=_tensor(tables.array[rows, :max_blocks], device),
        slot_mapping=_tensor(blocks * block_size + positions % block_size, device),
    )
    return InputBatch(
        token_ids=_tensor(_token_ids(items), device),
        positions=_tensor(positions, device),
        attention=metadata,
        sampled_rows=_tensor(_sampled_rows(plan, items, ends), device),
        first_rows={
            item.seq.seq_id: end - item.num_tokens
            for item, end in zip(items, ends.tolist(), strict=True)
        },
        fresh_blocks=fresh_blocks,
    )


def _decodes_by_length(item: ScheduledSequence) -> tuple[bool, int]:
    return item.num_tokens > 1, item.start


def _sync_rows(
    items: list[ScheduledSequence], tables: BlockTables, block_size: int
) -> tuple[Indices, list[int]]:
    rows: list[int] = []
    fresh_blocks: list[int] = []
    for item in items:
        row, fresh = tables.sync(item.seq, -(-item.start // block_size))
        rows.append(row)
        fresh_blocks += fresh
    return np.array(rows, np.int64), fresh_blocks


def _token_ids(items: list[ScheduledSequence]) -> Indices:
    tokens: list[int] = []
    for item in items:
        tokens += item.seq.token_ids[item.start : item.start + item.num_tokens]
    return np.array(tokens, np.int64)


def _sampled_rows(plan: StepPlan, items: list[ScheduledSequence], ends: Indices) -> Indices:
    last_row = {item.seq.seq_id: end - 1 for item, end in zip(items, ends, strict=True)}
    return np.array([last_row[item.seq.seq_id] for item in plan.sampling], np.int64)


def _tensor(array: Indices, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(array).to(device)
