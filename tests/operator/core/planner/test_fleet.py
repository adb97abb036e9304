import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.planner.errors import PlanError
from pagelet_operator.core.planner.fleet import Price, monthly, peaks, price, replicas_for

rates = st.floats(1e-3, 1e4)
headrooms = st.floats(0, 0.95)


@given(rates, rates, st.floats(1e-2, 1e3), headrooms)
def test_a_higher_rate_never_needs_fewer_replicas(first, second, each, headroom):
    low, high = min(first, second), max(first, second)
    assert replicas_for(low, each, headroom) <= replicas_for(high, each, headroom)


@given(rates, st.floats(1e-2, 1e3), headrooms)
def test_replicas_carry_the_rate_and_one_fewer_would_not(rate, each, headroom):
    needed = replicas_for(rate, each, headroom)
    usable = each * (1 - headroom)
    assert needed * usable >= rate * (1 - 1e-6)
    assert needed == 1 or (needed - 1) * usable < rate


@pytest.mark.parametrize(
    ("replicas", "wanted"),
    [
        (1, {"Surge": 2, "Borrow": 1, "InPlace": 1, "BlueGreen": 2, "Recreate": 1}),
        (4, {"Surge": 8, "Borrow": 4, "InPlace": 4, "BlueGreen": 8, "Recreate": 4}),
    ],
)
def test_each_way_to_roll_out_has_its_peak(replicas, wanted):
    found = peaks(replicas, (5, 25, 50), 1)
    assert {peak.mode: peak.gpus for peak in found} == wanted
    assert [peak.mode for peak in found if not peak.works] == (["Borrow"] if replicas == 1 else [])


weights = st.lists(st.integers(1, 99), min_size=1, max_size=6, unique=True).map(sorted)


@given(st.integers(1, 200), weights, st.integers(1, 8))
def test_only_surge_and_blue_green_take_more_than_there_is(replicas, steps, gpus_each):
    for peak in peaks(replicas, steps, gpus_each):
        assert peak.gpus == peak.replicas * gpus_each
        most = 2 if peak.mode in ("Surge", "BlueGreen") else 1
        assert replicas <= peak.replicas <= most * replicas


def test_a_month_has_730_hours():
    assert monthly(Price(amount=2.5, currency="EUR"), 4) == 7300


def test_a_price_is_an_amount_and_a_currency():
    assert price(" 2.50 EUR") == Price(amount=2.5, currency="EUR")


@pytest.mark.parametrize("text", ["2.50", "2.50 ", "2.50 $", "2.5 eur", "2.5 EURO", "2.50 ÄÖÜ"])
def test_a_price_without_currency_is_refused(text):
    with pytest.raises(PlanError, match="without a currency"):
        price(text)


@pytest.mark.parametrize("text", ["", "EUR 2.50", "-1 EUR", "nan EUR", "inf EUR", "two EUR"])
def test_a_price_without_amount_is_refused(text):
    with pytest.raises(PlanError, match=r"--price is .*write an amount and a currency"):
        price(text)


def test_the_last_step_of_a_rollout_is_all_traffic():
    assert next(peak.replicas for peak in peaks(4, (5,), 1) if peak.mode == "Surge") == 8
