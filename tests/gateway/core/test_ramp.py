from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.ramp import FLOOR, MAX_SAVED, RAMP_S, Ramp

OLD = ["http://a", "http://b", "http://c"]
NEW = "http://new"


def share_of_newcomer(ramp: Ramp, now: float, picks: int) -> int:
    """How many of so many picks a newcomer gets that is chosen whenever it may be."""
    taken = 0
    for _ in range(picks):
        if NEW not in ramp.held_back([*OLD, NEW], now):
            ramp.picked(NEW)
            taken += 1
    return taken


def known() -> Ramp:
    ramp = Ramp()
    assert ramp.held_back(OLD, 0.0) == set()
    return ramp


def test_peers_that_are_all_new_start_together():
    ramp = Ramp()
    assert [ramp.held_back(OLD, now) for now in (0.0, 0.1)] == [set(), set()]


def test_a_newcomer_gets_a_tenth_of_its_share_at_first_and_all_of_it_in_the_end():
    ramp = known()
    assert share_of_newcomer(ramp, 0.0, 400) == 400 / 4 * FLOOR
    assert share_of_newcomer(ramp, RAMP_S, 40) == 40


def test_the_share_grows_with_age():
    ramp, taken = known(), []
    for second in range(int(RAMP_S)):
        taken.append(share_of_newcomer(ramp, float(second), 400))
    assert taken == sorted(taken)
    assert taken[0] <= 11
    assert taken[-1] >= 85


def test_one_that_left_and_came_back_is_new_again():
    ramp = known()
    ramp.held_back([*OLD, NEW], 0.0)
    ramp.held_back([*OLD, NEW], RAMP_S)
    ramp.keep_only(OLD)
    assert NEW in ramp.held_back([*OLD, NEW], RAMP_S)


@given(
    st.lists(st.floats(0, 5), min_size=1, max_size=200),
    st.lists(st.booleans(), min_size=200, max_size=200),
)
def test_a_newcomer_never_gets_more_than_its_share_and_one(gaps, chosen):
    ramp, now, earned, taken = known(), 0.0, 0.0, 0
    ramp.held_back([*OLD, NEW], now)
    for gap, is_chosen in zip(gaps, chosen, strict=False):
        now += gap
        held = ramp.held_back([*OLD, NEW], now)
        earned += min(1.0, FLOOR + (1 - FLOOR) * now / RAMP_S) / 4
        assert held <= {NEW}, "only a newcomer is held back"
        if now >= RAMP_S:
            assert not held
            return
        if is_chosen and not held:
            ramp.picked(NEW)
            taken += 1
            assert taken <= earned + 1


def test_a_newcomer_that_was_not_chosen_for_a_while_makes_no_burst():
    ramp = known()
    for _ in range(1000):
        ramp.held_back([*OLD, NEW], 0.0)
    burst = 0
    while NEW not in ramp.held_back([*OLD, NEW], 0.0):
        ramp.picked(NEW)
        burst += 1
    assert burst <= MAX_SAVED + 1
