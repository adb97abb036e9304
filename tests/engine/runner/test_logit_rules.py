"""Every rule against a twin that walks over one row's tokens in plain Python."""

import math
import random
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pagelet_engine.core.draw import NoToken
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.runner.logit_rules import apply_rules
from pagelet_engine.runner.sampler import sample
from pagelet_engine.runner.sampling_row import SamplingRow

VOCAB = 12
EOS = frozenset({0, 3})
INF = math.inf


def twin(logits: list[float], row: SamplingRow) -> list[float]:
    """What a row's logits become: the definition of each rule, one token at a time."""
    params, out = row.params, list(row.token_ids[row.num_prompt_tokens :])
    changed = []
    for token, given_logit in enumerate(logits):
        value = given_logit + dict(params.logit_bias).get(token, 0.0)
        if token in row.token_ids:
            factor = params.repetition_penalty
            value = value / factor if value > 0 else value * factor
        value -= params.frequency_penalty * Counter(out)[token]
        value -= params.presence_penalty * (token in out)
        if params.allowed_token_ids is not None and token not in params.allowed_token_ids:
            value = -INF
        for word in params.bad_words:
            start = out[len(out) - len(word) + 1 :] if len(word) > 1 else []
            if token == word[-1] and (*start, token) == word:
                value = -INF
        ends = token in params.stop_token_ids or (token in EOS and not params.ignore_eos)
        changed.append(-INF if ends and len(out) < params.min_tokens else value)
    return changed


ids = st.integers(0, VOCAB - 1)
quarters = st.integers(-8, 8).map(lambda n: n / 4)
params = st.fixed_dictionaries(
    {"max_tokens": st.just(20)},
    optional={
        "temperature": st.sampled_from([0.0, 0.7, 1.0]),
        "top_p": st.sampled_from([0.5, 0.95]),
        "top_k": st.integers(1, VOCAB),
        "min_p": st.sampled_from([0.05, 0.5]),
        "presence_penalty": quarters,
        "frequency_penalty": quarters,
        "repetition_penalty": st.sampled_from([0.5, 1.25, 2.0]),
        "logit_bias": st.dictionaries(ids, quarters, max_size=4).map(lambda d: tuple(d.items())),
        "allowed_token_ids": st.lists(ids, min_size=1, max_size=9).map(tuple),
        "bad_words": st.lists(st.lists(ids, min_size=1, max_size=3).map(tuple), max_size=3).map(
            tuple
        ),
        "min_tokens": st.integers(0, 8),
        "ignore_eos": st.booleans(),
        "stop_token_ids": st.lists(ids, max_size=3).map(tuple),
    },
).map(lambda values: SamplingParams(**values))


@st.composite
def rows(draw: st.DrawFn) -> SamplingRow:
    prompt = draw(st.lists(ids, min_size=1, max_size=6))
    output = draw(st.lists(ids, max_size=8))
    tokens = prompt + output
    seed = draw(st.integers(0, 2**62))
    return SamplingRow(draw(params), seed, len(tokens), tokens, len(prompt))


def some_logits(row: SamplingRow) -> list[float]:
    numbers = random.Random(row.seed)
    return [round(numbers.uniform(-4, 4) * 64) / 64 for _ in range(VOCAB)]


@settings(deadline=None)
@given(st.lists(rows(), min_size=1, max_size=6))
def test_every_rule_does_what_its_definition_says(batch):
    logits = torch.tensor([some_logits(row) for row in batch])
    apply_rules(logits, batch, EOS)
    expected = torch.tensor([twin(some_logits(row), row) for row in batch])
    torch.testing.assert_close(logits, expected)


@settings(deadline=None)
@given(st.lists(rows(), min_size=2, max_size=6), st.randoms())
def test_a_mix_of_parameters_gives_each_row_what_it_gets_alone(batch, shuffler):
    alone = {id(row): sample(torch.tensor([some_logits(row)]), [row], EOS)[0] for row in batch}
    shuffler.shuffle(batch)
    together = sample(torch.tensor([some_logits(row) for row in batch]), batch, EOS)
    assert together == [alone[id(row)] for row in batch]


@settings(deadline=None)
@given(rows())
def test_a_forbidden_token_is_never_drawn(row):
    token = sample(torch.tensor([some_logits(row)]), [row], EOS)[0]
    allowed = [i for i, value in enumerate(twin(some_logits(row), row)) if value > -INF]
    assert token in (allowed or [NoToken.NONE_ALLOWED])


@given(st.lists(rows(), min_size=1, max_size=4), st.data())
def test_who_is_to_blame_for_no_token_does_not_depend_on_the_batch(batch, data):
    broken = [data.draw(st.sampled_from([0.0, -INF, INF, math.nan])) for _ in batch]
    given_logits = [
        some_logits(row) if bad == 0.0 else [bad] * VOCAB
        for row, bad in zip(batch, broken, strict=True)
    ]
    masks = data.draw(
        st.lists(st.lists(st.booleans(), min_size=VOCAB, max_size=VOCAB), min_size=4, max_size=4)
    )
    mask = torch.tensor(masks[: len(batch)])
    drawn = sample(torch.tensor(given_logits), batch, EOS, mask)
    for row, logits, bad, allowed, token in zip(
        batch, given_logits, broken, masks, drawn, strict=False
    ):
        ruled = zip(twin(logits, row), allowed, strict=True)
        left = [i for i, (value, may) in enumerate(ruled) if may and value > -INF]
        if bad != 0.0:
            assert token is NoToken.NOT_FINITE
        else:
            assert token in (left or [NoToken.NONE_ALLOWED])


def test_rows_without_rules_are_left_as_they_are():
    given_logits = torch.randn(3, VOCAB)
    plain = SamplingRow(SamplingParams(max_tokens=1), 0, 1, [1], 1)
    ruled = SamplingRow(SamplingParams(max_tokens=1, allowed_token_ids=(2,)), 0, 1, [1], 1)
    logits = given_logits.clone()
    apply_rules(logits, [plain, ruled, plain], EOS)
    assert torch.equal(logits[[0, 2]], given_logits[[0, 2]])
    assert not torch.equal(logits[1], given_logits[1])


@pytest.mark.parametrize(
    "changes",
    [
        {"logit_bias": ((VOCAB, 9.0), (-1, 9.0), (2, 1.0))},
        {"bad_words": ((VOCAB,), (-1,))},
        {"stop_token_ids": (VOCAB, -1), "min_tokens": 1, "ignore_eos": True},
        {"allowed_token_ids": (VOCAB, -1, 2)},
    ],
)
def test_an_id_that_does_not_exist_never_reaches_a_neighbour(changes):
    plain = SamplingRow(SamplingParams(max_tokens=1), 0, 1, [1], 1)
    wrong = SamplingRow(SamplingParams(max_tokens=1, **changes), 0, 1, [1], 1)
    logits = torch.zeros(3, VOCAB)
    apply_rules(logits, [plain, wrong, plain], EOS)
    assert torch.equal(logits[[0, 2]], torch.zeros(2, VOCAB))


def test_a_bad_word_that_began_in_the_prompt_is_not_one_of_the_output():
    params = SamplingParams(max_tokens=1, bad_words=((1, 2),))
    for num_prompt, expected in ((2, 0.0), (1, -INF)):
        logits = torch.zeros(1, VOCAB)
        apply_rules(logits, [SamplingRow(params, 0, 2, [5, 1], num_prompt)], EOS)
        assert float(logits[0, 2]) == expected
