"""Hands out the KV cache in fixed-size blocks, as an operating system hands out pages.

Every block is either free or held by one or more sequences (`ref_count`). A sequence's
`block_table` maps token position to block, so its cache need not be contiguous, and at most
`block_size - 1` slots per sequence are wasted.

A full block may be named (`block_hash`) and then outlives its holders: free, it keeps its contents
until it is needed, and a sequence that begins with the same tokens takes it back instead of
computing it. Only full blocks are named and at least one token is always computed, so the slots a
sequence still writes lie in blocks of its own: a shared block is never written, and nothing has to
be copied on write. Forks of one prompt share all its full blocks and compute its last part each.

Sources: Kwon et al. 2023, "Efficient Memory Management for Large Language Model Serving with
PagedAttention", section 4; Zheng et al. 2024, "SGLang", section 3 (least recently used first).
"""

from collections import OrderedDict
from collections.abc import Iterable

from pagelet_engine.core.block_hash import extend_block_hashes
from pagelet_engine.core.sequence import Sequence


class BlockManager:
    """The pool of blocks: who holds each, and what the free ones still contain."""

    def __init__(self, num_blocks: int, block_size: int, *, caches_prefixes: bool = True) -> None:
        """Start with every block free and empty.

        Args:
            num_blocks: Size of the pool.
            block_size: Tokens per block.
            caches_prefixes: Whether full blocks are named and found again.
        """
        assert num_blocks > 0
        assert block_size > 0
        self.num_blocks = num_blocks
        self.block_size = block_size
        self._caches_prefixes = caches_prefixes
        # Nobody's blocks, the next to be overwritten first: empty ones, then the named ones from
        # least to most recently used.
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(num_blocks))
        self._ref_counts = [0] * num_blocks
        self._names: list[bytes | None] = [None] * num_blocks
        self._named: dict[bytes, int] = {}

    @property
    def num_free_blocks(self) -> int:
        """Blocks nobody holds, those with cached contents included."""
        return len(self._free)

    @property
    def num_used_blocks(self) -> int:
        """Blocks held by at least one sequence."""
        return self.num_blocks - len(self._free)

    @property
    def num_cached_blocks(self) -> int:
        """Named blocks, held or free."""
        return len(self._named)

    def num_blocks_for(self, num_tokens: int) -> int:
        """Return how many blocks hold the K/V of `num_tokens` tokens."""
        return -(-num_tokens // self.block_size)

    def num_cached_tokens(self, seq: Sequence) -> int:
        """Return how many leading tokens of `seq`, which holds no block, are in the cache.

        A whole number of blocks, and at least one token less than `seq` has: its newest token must
        be computed to yield the next.
        """
        return len(self._cached_prefix(seq)) * self.block_size

    def fits(self, seq: Sequence, num_spare: int) -> bool:
        """Return whether all tokens of `seq`, which holds no block, find room beside `num_spare`
        blocks that stay free."""
        cached = self._cached_prefix(seq)
        num_held = sum(self._ref_counts[block] > 0 for block in cached)
        return self.num_blocks_for(seq.num_tokens) - num_held + num_spare <= len(self._free)

    def begin(self, seq: Sequence) -> int:
        """Give `seq` the blocks of all its tokens; call it when `fits` says so.

        Returns:
            How many of its tokens need no computing, since cached blocks hold them.
        """
        assert not seq.block_table
        for block in self._cached_prefix(seq):
            if self._ref_counts[block] == 0:
                del self._free[block]
            self._ref_counts[block] += 1
            seq.block_table.append(block)
        seq.num_computed_tokens = len(seq.block_table) * self.block_size
        seq.num_named_blocks = len(seq.block_table)
        has_room = self.append_slots(seq, seq.num_uncomputed_tokens)
        assert has_room, "room was checked"
        return seq.num_computed_tokens

    def append_slots(self, seq: Sequence, num_new_tokens: int) -> bool:
        """Grow `seq.block_table` until `num_new_tokens` more K/V entries fit.

        All or nothing: when this returns False, neither the pool nor the sequence has changed,
        so the caller may preempt and try again.

        Returns:
            Whether the block table now covers them.
        """
        num_needed = self.num_blocks_for(seq.num_computed_tokens + num_new_tokens)
        num_missing = num_needed - len(seq.block_table)
        if num_missing > len(self._free):
            return False
        for _ in range(num_missing):
            seq.block_table.append(self._take_free())
        return True

    def name_full_blocks(self, seq: Sequence, num_tokens: int) -> None:
        """Let others find the blocks that the first `num_tokens` tokens of `seq` fill.

        To be called once a token was drawn from finite logits: these depend on all K/V before, so
        what is found is never worse than what would be computed. A prompt that overflows can spoil
        even the tokens before the one at fault, if they are computed in the same step.
        """
        num_full = num_tokens // self.block_size
        if num_full <= seq.num_named_blocks or not self._caches_prefixes:
            return
        self._hash_blocks(seq, num_full)
        for index in range(seq.num_named_blocks, num_full):
            name, block = seq.block_hashes[index], seq.block_table[index]
            # Computed twice at the same time: the first stays, this one is forgotten when freed.
            if name not in self._named:
                self._named[name] = block
                self._names[block] = name
        seq.num_named_blocks = num_full

    def num_exclusive_blocks(self, seq: Sequence) -> int:
        """Return how many blocks only `seq` holds: what its preemption would free."""
        return sum(self._ref_counts[block] == 1 for block in seq.block_table)

    def free(self, seq: Sequence) -> None:
        """Take back every block of `seq` and forget what it had computed."""
        # Tail first: a tail block keys a longer prefix, so it is the least likely to be hit
        # again and should be the first to be overwritten.
        empty: list[int] = []
        for block in reversed(seq.block_table):
            self._ref_counts[block] -= 1
            if self._ref_counts[block] == 0:
                self._free[block] = None
                if self._names[block] is None:
                    empty.append(block)
        for block in reversed(empty):
            self._free.move_to_end(block, last=False)
        seq.block_table.clear()
        seq.num_computed_tokens = 0
        seq.num_named_blocks = 0

    def awaits(self, seq: Sequence, running: Iterable[Sequence]) -> bool:
        """Return whether one of `running` is computing the first block that `seq` misses.

        Then `seq` should wait a step instead of computing the same: forks of a prompt arrive
        together.
        """
        index = len(self._cached_prefix(seq))
        if index >= len(seq.block_hashes):
            return False
        name = seq.block_hashes[index]
        return any(
            other.num_named_blocks <= index < len(other.block_hashes)
            and other.block_hashes[index] == name
            for other in running
        )

    def check(self, seqs: Iterable[Sequence]) -> None:
        """Assert conservation: each block is free or held, exactly as often as counted, and what a
        sequence may still write is its own and without a name.

        For tests; takes time proportional to the pool.
        """
        held = [0] * self.num_blocks
        for seq in seqs:
            assert len(set(seq.block_table)) == len(seq.block_table), "a block twice in one table"
            assert len(seq.block_table) * self.block_size >= seq.num_computed_tokens
            for block in seq.block_table:
                held[block] += 1
            for block in seq.block_table[seq.num_named_blocks :]:
                assert self._ref_counts[block] == 1, "a shared block would be written"
                assert self._names[block] is None, "a cached block would be written"
        assert held == self._ref_counts, "reference counts disagree with the block tables"
        assert all(held[block] == 0 for block in self._free), "a held block is in the free list"
        num_held = sum(count > 0 for count in held)
        assert num_held + len(self._free) == self.num_blocks, "a block is lost"
        names = {name: block for block, name in enumerate(self._names) if name is not None}
        assert names == self._named, "names and blocks disagree"

    def _take_free(self) -> int:
        block, _ = self._free.popitem(last=False)
        name = self._names[block]
        if name is not None:
            self._names[block] = None
            del self._named[name]
        self._ref_counts[block] = 1
        return block

    def _cached_prefix(self, seq: Sequence) -> list[int]:
        if not self._caches_prefixes or not seq.reads_cache:
            return []
        num_full = (seq.num_tokens - 1) // self.block_size
        self._hash_blocks(seq, num_full)
        blocks: list[int] = []
        for name in seq.block_hashes[:num_full]:
            block = self._named.get(name)
            if block is None:
                break
            blocks.append(block)
        return blocks

    def _hash_blocks(self, seq: Sequence, num_blocks: int) -> None:
        extend_block_hashes(
            seq.block_hashes,
            seq.token_ids,
            num_blocks,
            salt=seq.cache_salt,
            block_size=self.block_size,
        )
