"""The built-in prompts: mixed, and long enough to leave the first blocks of the cache."""

from pagelet_bench.core.gates.prompts import PROMPTS


def test_there_are_twenty_different_ones_of_mixed_lengths():
    assert len(set(PROMPTS)) == 20
    assert min(map(len, PROMPTS)) < 30
    assert max(map(len, PROMPTS)) > 2000
