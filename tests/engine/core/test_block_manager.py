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


def _prompt(tokens: list[int], salt: bytes = b"") -> Sequence:
    return Sequence(0, list(tokens), SamplingParams(max_tokens=1), cache_salt=salt)


def _compute(blocks: BlockManager, seq: Sequence) -> int:
    """Admit a sequence and compute all its tokens; return how many were cached."""
    assert blocks.fits(seq, 0)
    num_cached = blocks.begin(seq)
    blocks.name_full_blocks(seq, seq.num_tokens)
    seq.num_computed_tokens = seq.num_tokens
    return num_cached


def test_a_prompt_finds_all_its_full_blocks_but_computes_at_least_one_token():
    blocks = BlockManager(8, 4)
    for tokens, expected in (
        (range(8), 0),
        (range(8), 4),  # the second block holds the newest token, which must be computed
        (range(9), 8),
        (range(4), 0),
        ([*range(4), 99, 99], 4),
        ([99, *range(7)], 0),
    ):
        seq = _prompt(list(tokens))
        assert blocks.num_cached_tokens(seq) == expected
        assert _compute(blocks, seq) == expected
        blocks.check([seq])
        blocks.free(seq)


def test_tenants_do_not_find_each_others_blocks():
    blocks = BlockManager(8, 2)
    for salt in (b"a", b"b"):
        seq = _prompt([1, 2, 3, 4, 5], salt)
        assert _compute(blocks, seq) == 0
        blocks.free(seq)
    assert _compute(blocks, _prompt([1, 2, 3, 4, 5], b"a")) == 4


def test_what_must_not_be_cached_or_read_from_the_cache_is_not():
    off = BlockManager(8, 2, caches_prefixes=False)
    first = _prompt([1, 2, 3])
    _compute(off, first)
    off.free(first)
    assert off.num_cached_blocks == off.num_cached_tokens(_prompt([1, 2, 3])) == 0
    blocks = BlockManager(8, 2)
    _compute(blocks, _prompt([1, 2, 3]))
    reader = _prompt([1, 2, 3])
    reader.reads_cache = False
    assert _compute(blocks, reader) == 0


def test_a_fork_waits_while_its_next_block_is_being_computed_and_no_longer():
    blocks = BlockManager(12, 2)
    first, fork = _prompt([1, 2, 3, 4, 5]), _prompt([1, 2, 3, 4, 6])
    other = _prompt([1, 9, 9])
    assert not blocks.awaits(first, [])
    blocks.num_cached_tokens(first)  # names what it will compute
    blocks.begin(first)
    assert blocks.awaits(fork, [first])
    assert not blocks.awaits(other, [first])
    reader = _prompt([1, 2, 3, 4, 6])
    reader.reads_cache = False
    assert not blocks.awaits(reader, [first])
    first.num_computed_tokens = 5
    blocks.name_full_blocks(first, 5)
    assert not blocks.awaits(fork, [first])
    assert blocks.begin(fork) == 4


def test_a_block_held_by_two_is_counted_once_and_room_is_reckoned_with_it():
    blocks = BlockManager(4, 2)
    first, second = _prompt([1, 2, 3, 4, 5]), _prompt([1, 2, 3, 4, 6])
    _compute(blocks, first)
    assert blocks.fits(second, 0)
    assert not blocks.fits(second, 1)
    _compute(blocks, second)
    assert blocks.num_used_blocks == 4
    assert blocks.num_exclusive_blocks(first) == 1
    blocks.check([first, second])
    blocks.free(first)
    # Free but cached blocks are room, yet not for the sequence that is about to take them back.
    assert blocks.fits(_prompt([9, 9]), 0)
    assert not blocks.fits(_prompt([9, 9, 9]), 0)


class _LeastRecentlyUsed:
    """The obvious cache: prefixes in a list, the next to go first."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.prefixes: list[tuple[int, ...]] = []

    def use(self, tokens: list[int], block_size: int) -> int:
        """Return how many blocks of a prompt that does not fill its last one are hit."""
        ends = range(block_size, len(tokens), block_size)
        used = [tuple(tokens[:end]) for end in ends]
        num_hits = 0
        while num_hits < len(used) and used[num_hits] in self.prefixes:
            num_hits += 1
        num_new = len(used) + 1 - num_hits
        num_evicted = max(0, num_new - (self._capacity - len(self.prefixes)))
        others = [prefix for prefix in self.prefixes if prefix not in used[:num_hits]]
        self.prefixes = others[num_evicted:] + used[::-1]
        return num_hits


@given(
    st.integers(2, 4),
    st.lists(st.tuples(st.lists(st.integers(0, 1), max_size=6), st.integers(0, 1)), max_size=25),
)
def test_the_least_recently_used_goes_first_and_its_tail_before_its_head(
    block_size: int, prompts: list[tuple[list[int], int]]
):
    blocks, model = BlockManager(7, block_size), _LeastRecentlyUsed(7)
    for words, last in prompts:
        tokens = [word for word in words for _ in range(block_size)] + [last]
        seq = _prompt(tokens)
        assert _compute(blocks, seq) == model.use(tokens, block_size) * block_size
        blocks.check([seq])
        blocks.free(seq)
        assert blocks.num_cached_blocks == len(model.prefixes)
    assert blocks.num_free_blocks == 7
