"""The running sequences' block tables as one array, so that a step copies only what is new.

Each running sequence keeps a row until its blocks go back; every step appends the blocks it got
since, and nothing else. Work is proportional to the sequences in the step, not to the cache.
"""

import numpy as np
import numpy.typing as npt

from pagelet_engine.core.sequence import Sequence


class BlockTables:
    """Rows of block ids, [max_num_seqs, max_blocks_per_seq] int64, padded with the null block."""

    def __init__(self, max_num_seqs: int, max_blocks_per_seq: int, null_block: int) -> None:
        self._null_block = null_block
        self.array: npt.NDArray[np.int64] = np.full(
            (max_num_seqs, max_blocks_per_seq), null_block, np.int64
        )
        self._free_rows = list(range(max_num_seqs))
        self._rows: dict[int, int] = {}
        self._num_blocks = [0] * max_num_seqs

    def sync(self, seq: Sequence, num_filled: int) -> tuple[int, list[int]]:
        """Bring a sequence's row up to date.

        Args:
            seq: Runs in the coming step.
            num_filled: Leading blocks that hold K/V already; those from the prefix cache were
                filled for another sequence.

        Returns:
            Its row, and the blocks without contents that it got since the last call.
        """
        row = self._rows.get(seq.seq_id)
        if row is None:
            row = self._rows[seq.seq_id] = self._free_rows.pop()
        known = self._num_blocks[row]
        fresh = seq.block_table[known:]
        if fresh:
            self.array[row, known : known + len(fresh)] = fresh
            self._num_blocks[row] = known + len(fresh)
        return row, fresh[max(0, num_filled - known) :]

    def release(self, seq_id: int) -> None:
        """Forget a sequence whose blocks went back; unknown ids are ignored."""
        row = self._rows.pop(seq_id, None)
        if row is not None:
            self.array[row, : self._num_blocks[row]] = self._null_block
            self._num_blocks[row] = 0
            self._free_rows.append(row)
