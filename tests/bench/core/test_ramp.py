"""The search ends, and its answer lies around the limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_bench.core.errors import UsageError
from pagelet_bench.core.ramp import LOWEST_SHARE, Found, Next, Search, Trial, advance

MOST_TRIALS = 300


def searched(search, holds):
    """Search with an oracle; return the answer and the trials."""
    trials = []
    while isinstance(step := advance(search, trials), Next):
        assert step.attempt == sum(trial.rate_per_s == step.rate_per_s for trial in trials)
        trials.append(Trial(step.rate_per_s, holds(step.rate_per_s, step.attempt)))
        assert len(trials) <= MOST_TRIALS
    return step, trials


searches = st.builds(
    Search,
    start_per_s=st.floats(0.1, 100),
    most_per_s=st.floats(100, 10_000),
    precision=st.floats(0.01, 1),
    repeats=st.sampled_from([1, 3, 5]),
)


@given(searches, st.floats(0.0001, 20_000))
def test_the_limit_lies_between_what_holds_and_what_breaks(search, limit):
    found, _ = searched(search, lambda rate, _: rate <= limit)
    assert found.holds_per_s is None or found.holds_per_s <= limit
    assert found.breaks_per_s is None or found.breaks_per_s > limit
    if found.holds_per_s is None:
        assert found.breaks_per_s == search.start_per_s * LOWEST_SHARE
    elif found.breaks_per_s is None:
        assert found.holds_per_s == search.most_per_s
    else:
        assert found.breaks_per_s <= found.holds_per_s * (1 + search.precision)


@given(searches, st.data())
def test_any_answers_at_all_end_the_search_within_its_range(search, data):
    found, trials = searched(search, lambda *_: data.draw(st.booleans()))
    rates = [trial.rate_per_s for trial in trials]
    assert all(search.start_per_s * LOWEST_SHARE <= rate <= search.most_per_s for rate in rates)
    assert all(rates.count(rate) <= search.repeats for rate in rates)
    assert {found.holds_per_s, found.breaks_per_s} <= {*rates, None}


def test_one_bad_trial_of_three_does_not_decide_a_rate():
    search = Search(start_per_s=1.0, most_per_s=2.0)
    found, trials = searched(search, lambda rate, attempt: attempt != 0)
    assert found == Found(2.0, None)
    assert len(trials) == 6


def test_what_is_certain_is_not_repeated():
    _, trials = searched(Search(start_per_s=1.0, most_per_s=1.0, repeats=5), lambda *_: True)
    assert len(trials) == 3


def test_the_answer_is_said_in_words():
    assert "holds at 4 requests/s and breaks at 4.4" in Found(4.0, 4.4).sentence
    assert "highest rate tried" in Found(9.0, None).sentence
    assert "missed even at 0.1" in Found(None, 0.1).sentence


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"start_per_s": 0.0}, "rate is 0"),
        ({"start_per_s": 5.0, "most_per_s": 4.0}, "max-rate is 4"),
        ({"start_per_s": 1.0, "precision": 0.0}, "ramp-precision is 0"),
        ({"start_per_s": 1.0, "repeats": 2}, "ramp-repeats is 2"),
    ],
)
def test_what_cannot_be_searched_is_refused_by_its_option(fields, said):
    with pytest.raises(UsageError, match=said):
        Search(**fields)
