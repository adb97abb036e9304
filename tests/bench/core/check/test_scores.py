"""Log-probabilities are read in both forms, and those that cannot be are broken."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_bench.core.check.scores import Score, chat_scores, completion_scores
from pagelet_bench.core.check.verdict import JudgedError, Verdict


def chat(*items):
    return {"content": [*items]}


def item(value=-0.5, tops=(-0.5, -2.0)):
    return {"token": "a", "logprob": value, "top_logprobs": [{"logprob": top} for top in tops]}


def plain(values, tops):
    count = len(values)
    return {
        "tokens": ["a"] * count,
        "token_logprobs": values,
        "top_logprobs": tops,
        "text_offset": [0] * count,
    }


def is_broken(call, *arguments):
    with pytest.raises(JudgedError) as caught:
        call(*arguments)
    return caught.value.finding.verdict is Verdict.BROKEN


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=6))
def test_the_logarithms_of_any_distribution_can_be(weights):
    tops = tuple(math.log(weight / sum(weights)) for weight in weights)
    for value in tops:
        Score(value, tops).check()
    assert Score(max(tops), tops).is_best


def test_a_probability_above_1_alone_or_together_is_broken():
    assert is_broken(Score(0.01, ()).check)
    assert is_broken(Score(-1.0, (0.01,)).check)
    assert is_broken(Score(-0.1, (-0.1, -0.1)).check)


def test_the_best_token_is_the_one_with_none_above_it():
    assert Score(-0.5, (-0.5, -2.0)).is_best
    assert not Score(-0.6, (-0.5, -2.0)).is_best
    assert Score(-9.0, ()).is_best


def test_both_forms_hold_the_same():
    assert chat_scores(chat(item())) == [Score(-0.5, (-0.5, -2.0))]
    assert completion_scores(plain([-0.5], [{"a": -0.5, "b": -2.0}])) == [Score(-0.5, (-0.5, -2.0))]


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {},
        chat(),
        chat("a"),
        chat(item() | {"token": None}),
        chat(item(value=None)),
        chat(item(value=math.nan)),
        chat(item() | {"top_logprobs": None}),
        chat(item(tops=(None,))),
    ],
)
def test_a_chat_form_that_clients_cannot_read_is_broken(logprobs):
    assert is_broken(chat_scores, logprobs)


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {},
        plain([], []),
        plain([-1.0], [{}]) | {"text_offset": None},
        plain([-1.0], [{}]) | {"tokens": ["a", "b"]},
        plain([None], [{}]),
        plain([-1.0], [None]),
        plain([-1.0], [{"a": "b"}]),
    ],
)
def test_a_plain_form_that_clients_cannot_read_is_broken(logprobs):
    assert is_broken(completion_scores, logprobs)
