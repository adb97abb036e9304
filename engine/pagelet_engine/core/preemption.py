"""Whose blocks are taken when the pool is full: those that are cheapest to compute again."""

from collections.abc import Iterable

from pagelet_engine.core.block_manager import BlockManager
from pagelet_engine.core.sequence import Sequence


def cheapest_victim(
    running: Iterable[Sequence], blocks: BlockManager, *, max_preemptions: int
) -> Sequence:
    """Return the running sequence whose preemption loses the least.

    First the unprotected, then those that free anything at all, then by tokens to be computed
    again, then the youngest. A sequence that was preempted `max_preemptions` times is protected;
    if all are, age alone decides, so that the oldest always goes on.

    Args:
        running: At least one.
        blocks: Knows which blocks are shared.
        max_preemptions: When protection begins.
    """

    def cost(seq: Sequence) -> tuple[bool, bool, int, int]:
        if seq.num_preemptions >= max_preemptions:
            return True, False, 0, -seq.arrival
        num_exclusive = blocks.num_exclusive_blocks(seq)
        # Blocks that others hold stay in the cache, and are found again.
        num_kept = (len(seq.block_table) - num_exclusive) * blocks.block_size
        num_lost = max(0, seq.num_computed_tokens - num_kept)
        return False, num_exclusive == 0, num_lost, -seq.arrival

    return min(running, key=cost)
