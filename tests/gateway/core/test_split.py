from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from pagelet_gateway.core.route_table import Stickiness
from pagelet_gateway.core.split import Dealer, by_key, conversation


@st.composite
def shares(draw: st.DrawFn, least: int = 1) -> dict[str, int]:
    """Positive integers that sum to 100, as a table has them."""
    count = draw(st.integers(least, 6))
    cuts = sorted(draw(st.sets(st.integers(1, 99), min_size=count - 1, max_size=count - 1)))
    edges = [0, *cuts, 100]
    return {f"r{i}": edges[i + 1] - edges[i] for i in range(count)}


@given(shares())
@settings(deadline=None)
def test_after_any_number_of_requests_no_revision_is_a_request_away_from_its_share(weights):
    dealer, dealt = Dealer(weights), Counter[str]()
    for total in range(1, 251):
        dealt[dealer.deal()] += 1
        for name, weight in weights.items():
            assert abs(dealt[name] - total * weight / 100) < 1


@given(shares(), st.integers(0, 150))
@settings(deadline=None)
def test_every_window_of_a_hundred_is_exact_to_one(weights, start):
    dealer = Dealer(weights)
    before = Counter(dealer.deal() for _ in range(start))
    dealt = Counter(dealer.deal() for _ in range(100))
    for name, weight in weights.items():
        assert abs(dealt[name] - weight) <= 1
        assert start % 100 or (before[name], dealt[name]) == (weight * (start // 100), weight)


@given(
    st.integers(2, 12),
    st.sampled_from([5, 10, 20, 25, 50]),
    st.integers(0, 11),
)
@settings(deadline=None)
def test_traffic_with_a_rhythm_shows_a_canary_every_kind_of_request(period, weight, phase):
    dealer = Dealer({"stable": 100 - weight, "canary": weight})
    turns = [number for number in range(20_000) if dealer.deal() == "canary"]
    of_one_kind = sum(number % period == phase % period for number in turns)
    assert abs(of_one_kind / len(turns) - 1 / period) < 0.08


def test_a_single_revision_gets_everything():
    assert {Dealer({"r": 100}).deal() for _ in range(10)} == {"r"}


@given(shares(least=2), st.text(max_size=20))
def test_a_conversation_always_goes_to_the_same_revision(weights, key):
    assert by_key(weights, key) == by_key(dict(reversed(weights.items())), key)


@given(st.lists(st.text(max_size=8), min_size=20, max_size=60), st.integers(1, 98), st.data())
def test_raising_a_weight_never_moves_a_conversation_back(keys, low, data):
    high = data.draw(st.integers(low + 1, 99))
    before = {"stable": 100 - low, "canary": low}
    after = {"stable": 100 - high, "canary": high}
    for key in keys:
        if by_key(before, key) == "canary":
            assert by_key(after, key) == "canary"


@given(shares(least=3), st.text(max_size=20), st.data())
def test_a_conversation_only_leaves_a_revision_whose_weight_fell(weights, key, data):
    riser, faller = data.draw(st.permutations(list(weights)))[:2]
    moved = data.draw(st.integers(0, weights[faller] - 1))
    after = weights | {riser: weights[riser] + moved, faller: weights[faller] - moved}
    assert by_key(after, key) in (by_key(weights, key), riser) or by_key(weights, key) == faller


def test_over_many_conversations_the_shares_are_the_weights():
    weights = {"stable": 70, "canary": 25, "other": 5}
    seen = Counter(by_key(weights, f"conversation {i}") for i in range(20_000))
    for name, weight in weights.items():
        assert abs(seen[name] / 20_000 - weight / 100) < 0.015


def test_a_conversation_in_one_canary_is_not_for_that_reason_in_the_next():
    keys = [f"user-{i}" for i in range(5_000)]
    first = {key for key in keys if by_key({"stable": 90, "canary-1": 10}, key) == "canary-1"}
    both = [key for key in first if by_key({"stable": 90, "canary-2": 10}, key) == "canary-2"]
    assert len(both) < 0.35 * len(first)


def test_surrogates_are_a_key_like_any_other():
    assert by_key({"a": 50, "b": 50}, "\ud800") in ("a", "b")


def test_a_conversation_is_known_by_its_header_else_its_user_else_its_opening():
    sticky = Stickiness.CONVERSATION
    opening = b'[{"role":"user","content":"hello"}'
    assert conversation(sticky, named="c", user="u", opening=opening) == "c"
    assert conversation(sticky, named=None, user="u", opening=opening) == "u"
    by_opening = conversation(sticky, named=None, user=None, opening=opening)
    assert by_opening == conversation(sticky, named="", user="", opening=opening)
    assert by_opening != conversation(sticky, named=None, user=None, opening=opening + b" ")
    assert conversation(sticky, named=None, user=None, opening=b"") is None


def test_a_route_may_know_users_only_or_nothing():
    assert conversation(Stickiness.USER, named="c", user="u", opening=b"[") == "u"
    assert conversation(Stickiness.USER, named="c", user=None, opening=b"[") is None
    assert conversation(Stickiness.NONE, named="c", user="u", opening=b"[") is None
