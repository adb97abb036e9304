"""A block's name stands for every token before its end, and for the tenant."""

from hypothesis import given
from hypothesis import strategies as st

from pagelet_engine.core.block_hash import extend_block_hashes

token_lists = st.lists(st.integers(0, 2**32 - 1), max_size=24)


def _names(tokens: list[int], *, salt: bytes = b"", block_size: int = 2) -> list[bytes]:
    names: list[bytes] = []
    extend_block_hashes(names, tokens, len(tokens) // block_size, salt=salt, block_size=block_size)
    return names


@given(token_lists, token_lists, st.binary(max_size=3), st.binary(max_size=3))
def test_two_blocks_have_one_name_only_if_all_before_their_end_is_equal(
    left: list[int], right: list[int], left_salt: bytes, right_salt: bytes
):
    names = zip(_names(left, salt=left_salt), _names(right, salt=right_salt), strict=False)
    for index, (one, other) in enumerate(names):
        end = 2 * (index + 1)
        same = left_salt == right_salt and left[:end] == right[:end]
        assert (one == other) == same


@given(token_lists, st.integers(1, 5), st.lists(st.integers(0, 5), max_size=4))
def test_naming_bit_by_bit_gives_the_same_names(
    tokens: list[int], block_size: int, stops: list[int]
):
    names: list[bytes] = []
    num_full = len(tokens) // block_size
    for stop in (*sorted(min(stop, num_full) for stop in stops), num_full):
        extend_block_hashes(names, tokens, stop, salt=b"s", block_size=block_size)
        assert len(names) == stop
    assert names == _names(tokens, salt=b"s", block_size=block_size)


def test_the_same_tokens_at_another_place_have_another_name():
    first, second = _names([7, 8, 7, 8])
    assert first != second
    assert len(first) == 32
