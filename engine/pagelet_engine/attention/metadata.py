"""What attention must know about one step, the same for every backend."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class AttentionMetadata:
    """One step's sequences: first those with one new token, by rising length, then the others.

    Rows of the step's token dimension follow the same order, so decodes are rows
    [0, num_decodes) and the rest comes in runs of `query_lens`.
    """

    num_decodes: int
    """Leading sequences with exactly one new token."""
    query_lens: list[int]
    """New tokens of each sequence, >= 1."""
    seq_lens: list[int]
    """Tokens of each sequence once the new ones are in: past plus new."""
    block_tables: torch.Tensor
    """[num_seqs, max_blocks] int64; behind a sequence's own blocks the null block."""
    slot_mapping: torch.Tensor
    """[num_tokens] int64: cache slot (block * block_size + offset) of each new token."""
