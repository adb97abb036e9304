"""Every value out of range is found and named; every value in range passes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_engine.core.sampling_params import SamplingParams

VOCAB = 100
ids = st.integers(0, VOCAB - 1)
GOOD = {
    "temperature": st.floats(0, 2),
    "top_p": st.floats(0, 1, exclude_min=True),
    "top_k": st.integers(0, 10**6),
    "min_p": st.floats(0, 1),
    "seed": st.none() | st.integers(-(2**63), 2**63 - 1),
    "presence_penalty": st.floats(-2, 2),
    "frequency_penalty": st.floats(-2, 2),
    "repetition_penalty": st.floats(0.01, 10),
    "logit_bias": st.lists(st.tuples(ids, st.floats(-100, 100)), max_size=5).map(tuple),
    "allowed_token_ids": st.none() | st.lists(ids, min_size=1, max_size=5).map(tuple),
    "bad_words": st.lists(st.lists(ids, min_size=1, max_size=3).map(tuple), max_size=3).map(tuple),
    "min_tokens": st.integers(0, 10),
    "stop_token_ids": st.lists(ids, max_size=5).map(tuple),
    "logprobs": st.none() | st.integers(0, 20),
    "prompt_logprobs": st.none() | st.integers(0, 20),
}
BAD = [
    ("temperature", -0.1), ("temperature", 2.01), ("temperature", math.nan),
    ("top_p", 0.0), ("top_p", 1.1), ("top_p", math.nan), ("top_k", -1),
    ("min_p", -0.1), ("min_p", 1.1), ("min_p", math.nan),
    ("seed", 2**63), ("seed", -(2**63) - 1),
    ("presence_penalty", 2.1), ("presence_penalty", -math.inf),
    ("frequency_penalty", -2.1), ("frequency_penalty", math.nan),
    ("repetition_penalty", 0.0), ("repetition_penalty", 11.0),
    ("logit_bias", ((VOCAB, 1.0),)), ("logit_bias", ((-1, 1.0),)),
    ("logit_bias", ((1, 100.1),)), ("logit_bias", ((1, math.nan),)),
    ("logit_bias", tuple((1, 1.0) for _ in range(1025))),
    ("allowed_token_ids", ()), ("allowed_token_ids", (VOCAB,)), ("allowed_token_ids", (-1,)),
    ("allowed_token_ids", (1,) * 4097),
    ("bad_words", ((),)), ("bad_words", ((1, VOCAB),)), ("bad_words", ((1,),) * 129),
    ("bad_words", ((1,) * 65,)),
    ("max_tokens", 0), ("min_tokens", -1), ("min_tokens", 11),
    ("stop_token_ids", (VOCAB,)), ("stop_token_ids", (-1,)), ("stop_token_ids", (1,) * 65),
    ("logprobs", -1), ("logprobs", 21), ("prompt_logprobs", -1), ("prompt_logprobs", 21),
]  # fmt: skip


@given(st.fixed_dictionaries({}, optional=GOOD))
def test_what_is_in_range_is_accepted(values):
    assert SamplingParams(**({"max_tokens": 10} | values)).check(VOCAB) is None


@pytest.mark.parametrize(("name", "value"), BAD)
def test_what_is_out_of_range_is_refused_by_name(name, value):
    problem = SamplingParams(**({"max_tokens": 10} | {name: value})).check(VOCAB)
    assert problem is not None
    assert problem.startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"temperature": 0.3, "top_p": 0.5, "min_p": 0.1, "top_k": 3, "seed": 1}, False),
        ({"stop_token_ids": (1,), "ignore_eos": True, "logprobs": 2}, False),
        ({"presence_penalty": -1.0}, True),
        ({"frequency_penalty": 0.5}, True),
        ({"repetition_penalty": 1.1}, True),
        ({"min_tokens": 1}, True),
        ({"allowed_token_ids": (1,)}, True),
        ({"logit_bias": ((1, 1.0),)}, True),
        ({"bad_words": ((1,),)}, True),
    ],
)
def test_only_rules_on_logits_cost_a_pass_over_them(changes, expected):
    assert SamplingParams(max_tokens=1, **changes).changes_logits is expected
