"""Bounds against their definitions, summed term by term."""

from math import comb, isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.bounds import (
    beta_cdf,
    rank_at_least,
    rank_at_most,
    share_at_least,
    share_at_most,
)

sizes = st.integers(1, 200)
shares = st.floats(0.01, 0.99)
risks = st.floats(1e-6, 0.4)
NEAR = 1e-4


def at_least(hits: int, of: int, share: float) -> float:
    """The chance of `hits` or more among `of`, the obvious way."""
    terms = (comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(hits, of + 1))
    return min(1.0, sum(terms))


@given(sizes, st.data(), shares)
def test_the_beta_function_is_the_binomials_tail(of, data, share):
    hits = data.draw(st.integers(1, of))
    found, wanted = beta_cdf(share, hits, of - hits + 1), at_least(hits, of, share)
    assert isclose(found, wanted, rel_tol=1e-8, abs_tol=1e-12)


@given(sizes, st.data(), risks)
def test_a_shares_bounds_are_clopper_and_pearsons(of, data, risk):
    hits = data.draw(st.integers(0, of))
    low, high = share_at_least(hits, of, risk), share_at_most(hits, of, risk)
    assert 0 <= low <= hits / of <= high <= 1
    if hits:
        assert at_least(hits, of, low) <= risk * (1 + NEAR) + 1e-12
        assert at_least(hits, of, min(1, low * 1.01 + 1e-9)) >= risk * 0.99
    if hits < of:
        assert 1 - at_least(hits + 1, of, high) <= risk * (1 + NEAR) + 1e-9


@given(sizes, shares, risks)
def test_the_lower_rank_lies_below_the_quantile_but_for_the_risk(of, share, risk):
    found = rank_at_least(share, of, risk)
    assert 0 <= found <= share
    # All up to observation number r lie below if r or more do.
    rank = int(found * of + 1e-9)
    assert rank == 0 or at_least(rank, of, share) >= 1 - risk - 1e-9


@given(sizes, shares, risks)
def test_the_upper_rank_lies_above_the_quantile_but_for_the_risk(of, share, risk):
    found = rank_at_most(share, of, risk)
    if found is None:
        assert at_least(of, of, share) > risk * (1 - 1e-9)
        return
    assert found <= 1
    rank = int(found * of + 1 - 1e-9)
    assert at_least(rank, of, share) <= risk + 1e-9


def test_a_p95_needs_59_observations_for_95_percent():
    assert rank_at_most(0.95, 58, 0.05) is None
    assert rank_at_most(0.95, 59, 0.05) is not None


@given(sizes, st.data(), risks, st.integers(2, 50))
def test_more_of_the_same_evidence_never_widens_a_bound(of, data, risk, times):
    hits = data.draw(st.integers(0, of))
    share = data.draw(shares)
    assert share_at_least(hits * times, of * times, risk) >= share_at_least(hits, of, risk) - NEAR
    assert share_at_most(hits * times, of * times, risk) <= share_at_most(hits, of, risk) + NEAR
    assert rank_at_least(share, of * times, risk) >= rank_at_least(share, of, risk) - NEAR
    few, many = rank_at_most(share, of, risk), rank_at_most(share, of * times, risk)
    assert few is None or (many is not None and many <= few + 1 / of)


@pytest.mark.parametrize("of", [10**6, 10**9])
def test_millions_of_observations_are_no_trouble(of):
    low, high = share_at_least(of // 100, of, 1e-5), share_at_most(of // 100, of, 1e-5)
    assert 0.0095 < low < 0.01 < high < 0.0105
    assert 0.98 < rank_at_least(0.99, of, 1e-5) < 0.99 < rank_at_most(0.99, of, 1e-5) < 0.992


def test_no_observation_bounds_nothing():
    assert (share_at_least(0, 0, 0.1), share_at_most(0, 0, 0.1)) == (0.0, 1.0)
    assert (rank_at_least(0.5, 0, 0.1), rank_at_most(0.5, 0, 0.1)) == (0.0, None)
