"""Blocks are free or held, all or nothing, and come back exactly once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_engine.core.block_manager import BlockManager
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.core.sequence import Sequence


def _seq(num_tokens: int = 1) -> Sequence:
    return Sequence(0, [0] * num_tokens, SamplingParams(max_tokens=1))


@given(st.integers(1, 9), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), max_size=40))
def test_no_block_is_lost_or_shared_whatever_grows_and_leaves(
    block_size: int, actions: list[tuple[int, int]]
):
    blocks = BlockManager(10, block_size)
    seqs = [_seq() for _ in range(4)]
    for index, num_new_tokens in actions:
        seq = seqs[index]
        if num_new_tokens == 0:
            blocks.free(seq)
        else:
            before = list(seq.block_table), blocks.num_free_blocks
            if blocks.append_slots(seq, num_new_tokens):
                seq.num_computed_tokens += num_new_tokens
            else:
                assert (seq.block_table, blocks.num_free_blocks) == before
        blocks.check(seqs)
        assert blocks.num_used_blocks == sum(len(seq.block_table) for seq in seqs)
    for seq in seqs:
        blocks.free(seq)
    assert blocks.num_free_blocks == 10


def test_a_full_block_gets_a_neighbour_only_when_the_next_token_comes():
    blocks, seq = BlockManager(4, 4), _seq()
    assert blocks.append_slots(seq, 4)
    assert len(seq.block_table) == 1
    seq.num_computed_tokens = 4
    assert blocks.append_slots(seq, 1)
    assert len(seq.block_table) == 2


def test_a_shared_block_stays_until_its_last_holder_leaves():
    blocks, seq = BlockManager(2, 4), _seq()
    assert blocks.append_slots(seq, 4)
    other = _seq()
    other.block_table.append(seq.block_table[0])
    blocks._ref_counts[seq.block_table[0]] += 1
    blocks.free(seq)
    blocks.check([other])
    assert blocks.num_free_blocks == 1
    blocks.free(other)
    assert blocks.num_free_blocks == 2


def test_the_tail_of_a_freed_sequence_is_reused_first():
    blocks, seq = BlockManager(3, 1), _seq()
    assert blocks.append_slots(seq, 3)
    table = list(seq.block_table)
    blocks.free(seq)
    assert blocks.append_slots(seq, 3)
    assert seq.block_table == table[::-1]


def test_the_check_sees_a_leak():
    blocks, seq = BlockManager(3, 1), _seq()
    assert blocks.append_slots(seq, 2)
    seq.block_table.pop()
    with pytest.raises(AssertionError, match="reference counts"):
        blocks.check([seq])
