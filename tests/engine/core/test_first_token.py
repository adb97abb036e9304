"""A request is refused at the door exactly if each single token is forbidden as the first one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_engine.core.first_token import no_first_token
from pagelet_engine.core.sampling_params import SamplingParams

VOCAB = 6
ids = st.integers(0, VOCAB - 1)
params = st.fixed_dictionaries(
    {"max_tokens": st.just(9)},
    optional={
        "allowed_token_ids": st.lists(ids, min_size=1, max_size=3).map(tuple),
        "bad_words": st.lists(st.lists(ids, min_size=1, max_size=2).map(tuple), max_size=8).map(
            tuple
        ),
        "min_tokens": st.integers(0, 2),
        "ignore_eos": st.booleans(),
        "stop_token_ids": st.lists(ids, max_size=5).map(tuple),
        "logit_bias": st.lists(st.tuples(ids, st.just(-100.0)), max_size=VOCAB).map(tuple),
    },
).map(lambda values: SamplingParams(**values))


def may_begin(token, sampling, eos):
    """Whether `token` may come first: the definition of each setting, one after the other."""
    allowed = sampling.allowed_token_ids
    ends = token in sampling.stop_token_ids or (token in eos and not sampling.ignore_eos)
    return (
        (allowed is None or token in allowed)
        and (token,) not in sampling.bad_words
        and not (ends and sampling.min_tokens > 0)
    )


@given(params, st.frozensets(st.integers(0, VOCAB + 3), max_size=4))
def test_what_is_refused_is_exactly_what_has_no_first_token(sampling, eos):
    problem = no_first_token(sampling, VOCAB, eos)
    assert (problem is None) == any(may_begin(token, sampling, eos) for token in range(VOCAB))


@given(params, st.frozensets(ids, max_size=3))
def test_the_refusal_names_settings_that_are_set(sampling, eos):
    problem = no_first_token(sampling, VOCAB, eos)
    if problem is not None:
        named = [
            name for name in ("allowed_token_ids", "bad_words", "min_tokens") if name in problem
        ]
        assert all(getattr(sampling, name) for name in named)
        assert problem.startswith(tuple(f"{name}: " for name in named))


@pytest.mark.parametrize(
    ("changes", "begins", "names"),
    [
        ({"allowed_token_ids": (0,), "min_tokens": 1}, "allowed_token_ids: ", "min_tokens"),
        ({"allowed_token_ids": (3,), "bad_words": ((3,),)}, "allowed_token_ids: ", "bad_words"),
        ({"bad_words": tuple((i,) for i in range(VOCAB))}, "bad_words: ", "no token"),
        (
            {"min_tokens": 2, "stop_token_ids": tuple(range(1, VOCAB))},
            "min_tokens: ",
            "end-of-sequence and stop tokens",
        ),
    ],
)
def test_the_refusal_says_which_settings_meet(changes, begins, names):
    problem = no_first_token(SamplingParams(max_tokens=4, **changes), VOCAB, frozenset({0}))
    assert problem is not None
    assert problem.startswith(begins)
    assert names in problem
