"""Hands out the KV cache in fixed-size blocks, as an operating system hands out pages.

Every block is either free or held by one or more sequences (`ref_count`). A sequence's
`block_table` maps token position to block, so its cache need not be contiguous, and at most
`block_size - 1` slots per sequence are wasted.

Source: Kwon et al. 2023, "Efficient Memory Management for Large Language Model Serving with
PagedAttention", section 4.
"""

from collections import deque
from collections.abc import Iterable

from pagelet_engine.core.sequence import Sequence


class BlockManager:
    """The pool of blocks: a free list and a reference count for each block."""

    def __init__(self, num_blocks: int, block_size: int) -> None:
        assert num_blocks > 0
        assert block_size > 0
        self.num_blocks = num_blocks
        self.block_size = block_size
        self._free = deque(range(num_blocks))
        self._ref_counts = [0] * num_blocks

    @property
    def num_free_blocks(self) -> int:
        """Blocks nobody holds."""
        return len(self._free)

    @property
    def num_used_blocks(self) -> int:
        """Blocks held by at least one sequence."""
        return self.num_blocks - len(self._free)

    def num_blocks_for(self, num_tokens: int) -> int:
        """Return how many blocks hold the K/V of `num_tokens` tokens."""
        return -(-num_tokens // self.block_size)

    def num_missing_blocks(self, seq: Sequence, num_new_tokens: int) -> int:
        """Return how many blocks `seq` lacks to compute `num_new_tokens` more tokens."""
        num_needed = self.num_blocks_for(seq.num_computed_tokens + num_new_tokens)
        return max(0, num_needed - len(seq.block_table))

    def append_slots(self, seq: Sequence, num_new_tokens: int) -> bool:
        """Grow `seq.block_table` until `num_new_tokens` more K/V entries fit.

        All or nothing: when this returns False, neither the pool nor the sequence has changed,
        so the caller may preempt and try again.

        Returns:
            Whether the block table now covers them.
        """
        num_missing = self.num_missing_blocks(seq, num_new_tokens)
        if num_missing > len(self._free):
            return False
        for _ in range(num_missing):
            block = self._free.popleft()
            self._ref_counts[block] = 1
            seq.block_table.append(block)
        return True

    def free(self, seq: Sequence) -> None:
        """Take back every block of `seq` and forget what it had computed."""
        # Tail first: a tail block keys a longer prefix, so it is the least likely to be hit
        # again and should be the first to be overwritten.
        for block in reversed(seq.block_table):
            self._ref_counts[block] -= 1
            if self._ref_counts[block] == 0:
                self._free.append(block)
        seq.block_table.clear()
        seq.num_computed_tokens = 0

    def check(self, seqs: Iterable[Sequence]) -> None:
        """Assert conservation: each block is free or held, exactly as often as counted.

        For tests; takes time proportional to the pool.
        """
        held = [0] * self.num_blocks
        for seq in seqs:
            assert len(set(seq.block_table)) == len(seq.block_table), "a block twice in one table"
            assert len(seq.block_table) * self.block_size >= seq.num_computed_tokens
            for block in seq.block_table:
                held[block] += 1
        assert held == self._ref_counts, "reference counts disagree with the block tables"
        assert len(set(self._free)) == len(self._free), "a block twice in the free list"
        assert all(held[block] == 0 for block in self._free), "a held block is in the free list"
        num_held = sum(count > 0 for count in held)
        assert num_held + len(self._free) == self.num_blocks, "a block is lost"
