"""A model that is a hash, with a cache that remembers what was written where.

The fake predicts only from what it reads back through the block table, never from the sequence,
so a wrong slot, a block shared by accident or a stale table changes its output.
"""

from collections.abc import Sequence as SequenceOf

import torch

from pagelet_engine.core.draw import Draw, NoToken
from pagelet_engine.core.sequence import Sequence
from pagelet_engine.core.step_plan import StepPlan
from pagelet_engine.runner.block_tables import BlockTables
from pagelet_engine.runner.input_batch import build_batch

VOCAB_SIZE = 97
POISON = 96
"""A prompt that holds this token yields logits that are not finite."""


def predict(tokens: SequenceOf[int]) -> Draw:
    """Return the token that follows, which depends on every token and its place."""
    if POISON in tokens:
        return NoToken.NOT_FINITE
    state = 17
    for token in tokens:
        state = (state * 31 + token + 1) % 1_000_003
    return state % (VOCAB_SIZE - 1)


def reference(
    prompt: SequenceOf[int], max_tokens: int, *, eos: int | None = None, max_len: int = 10**9
) -> list[int]:
    """The obviously correct decoder: no cache, no batch, no scheduler."""
    tokens = list(prompt)
    while len(tokens) - len(prompt) < max_tokens and len(tokens) < max_len:
        token = predict(tokens)
        if isinstance(token, NoToken):
            break
        tokens.append(token)
        if token == eos:
            break
    return tokens[len(prompt) :]


class FakeRunner:
    """Writes tokens into paged slots as the plan says, block tables read from the sequences."""

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._slots: dict[int, int] = {}

    def run(self, plan: StepPlan) -> list[Draw]:
        for item in plan.scheduled:
            for position in range(item.start, item.start + item.num_tokens):
                self._slots[self._slot(item.seq, position)] = item.seq.token_ids[position]
        return [
            predict([self._slots[self._slot(item.seq, i)] for i in range(item.seq.num_tokens)])
            for item in plan.sampling
        ]

    def _slot(self, seq: Sequence, position: int) -> int:
        block = seq.block_table[position // self._block_size]
        return block * self._block_size + position % self._block_size


class TensorRunner:
    """The same through the real input batch: only its tensors decide what is read and written."""

    def __init__(self, *, max_num_seqs: int, num_blocks: int, block_size: int) -> None:
        self._block_size = block_size
        self._tables = BlockTables(max_num_seqs, num_blocks, null_block=num_blocks)
        self._cache = torch.full(((num_blocks + 1) * block_size,), -1)

    def run(self, plan: StepPlan) -> list[Draw]:
        batch = build_batch(plan, self._tables, self._block_size, torch.device("cpu"))
        for block in batch.fresh_blocks:
            self._cache[block * self._block_size : (block + 1) * self._block_size] = -1
        meta = batch.attention
        assert (self._cache[meta.slot_mapping] == -1).all(), "a slot was written twice"
        self._cache[meta.slot_mapping] = batch.token_ids
        predictions: dict[int, Draw] = {}
        row = 0
        for index, query_len in enumerate(meta.query_lens):
            blocks = self._cache.view(-1, self._block_size)[meta.block_tables[index]]
            tokens = blocks.flatten()[: meta.seq_lens[index]].tolist()
            assert batch.positions[row : row + query_len].tolist() == list(
                range(meta.seq_lens[index] - query_len, meta.seq_lens[index])
            )
            row += query_len
            predictions[row - 1] = predict(tokens)
        self._check_order(meta.query_lens, meta.seq_lens, meta.num_decodes)
        return [predictions[row] for row in batch.sampled_rows.tolist()]

    @staticmethod
    def _check_order(query_lens: list[int], seq_lens: list[int], num_decodes: int) -> None:
        assert all(length == 1 for length in query_lens[:num_decodes])
        assert all(length > 1 for length in query_lens[num_decodes:])
        assert seq_lens[:num_decodes] == sorted(seq_lens[:num_decodes])
