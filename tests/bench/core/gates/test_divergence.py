"""Agreement of greedy answers."""

from hypothesis import given
from hypothesis import strategies as st

from pagelet_bench.core.gates.divergence import Answer, Pair, figures

TOKENS = st.lists(st.sampled_from("abc"), max_size=8).map(tuple)
PAIRS = st.lists(
    st.builds(Pair, canary=st.builds(Answer, TOKENS), stable=st.builds(Answer, TOKENS)), max_size=5
)


def test_a_prompt_counts_by_the_tokens_before_the_first_that_differs():
    pairs = [
        Pair(Answer(("a", "b", "x", "d")), Answer(("a", "b", "c", "d"))),
        Pair(Answer(("a", "b")), Answer(("a", "b"))),
    ]
    found = figures(pairs)
    assert found["agreementPercent"] == 100 * 4 / 6
    assert found["identicalPercent"] == 50
    assert found["firstDivergence"] == 2


def test_an_answer_that_ends_too_early_has_parted():
    assert figures([Pair(Answer(("a",)), Answer(("a", "b")))])["agreementPercent"] == 50


def test_log_probabilities_are_compared_where_the_tokens_agree():
    pair = Pair(Answer(("a", "x"), (-1.0, -9.0)), Answer(("a", "b"), (-1.5, -1.0)))
    assert figures([pair])["logprobDistance"] == 0.5


def test_nothing_compared_is_no_agreement():
    assert figures([]) == {"prompts": 0.0}


@given(PAIRS)
def test_agreement_is_a_share_and_the_same_from_both_sides(pairs):
    found = figures(pairs)
    turned = figures([Pair(pair.stable, pair.canary) for pair in pairs])
    assert found == turned
    assert 0 <= found.get("agreementPercent", 0) <= 100
    identical = all(pair.canary.tokens == pair.stable.tokens for pair in pairs)
    assert (found.get("identicalPercent", 100) == 100) == identical
