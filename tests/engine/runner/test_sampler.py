"""Draws follow the distribution asked for and depend on seed and position only."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pagelet_engine.core.draw import NoToken
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.runner.sampler import sample, uniform
from pagelet_engine.runner.sampling_row import SamplingRow

WEIGHTS = [0.5, 0.25, 0.125, 0.0625, 0.0625]
LOGITS = torch.tensor([math.log(weight) for weight in WEIGHTS])
SQUARES = sum(weight**2 for weight in WEIGHTS)
NUM_DRAWS = 4000


def _frequencies(params: SamplingParams) -> list[float]:
    rows = [SamplingRow(params, 11, position) for position in range(NUM_DRAWS)]
    counts = Counter(sample(LOGITS.repeat(NUM_DRAWS, 1), rows))
    return [counts[token] / NUM_DRAWS for token in range(len(WEIGHTS))]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, WEIGHTS),
        ({"temperature": 0.5}, [weight**2 / SQUARES for weight in WEIGHTS]),
        ({"top_k": 2}, [2 / 3, 1 / 3, 0, 0, 0]),
        ({"top_k": 1}, [1, 0, 0, 0, 0]),
        ({"top_k": 400}, WEIGHTS),
        ({"top_p": 0.5}, [1, 0, 0, 0, 0]),
        ({"top_p": 0.51}, [2 / 3, 1 / 3, 0, 0, 0]),
        ({"top_p": 0.75}, [2 / 3, 1 / 3, 0, 0, 0]),
        ({"top_k": 2, "top_p": 0.6}, [1, 0, 0, 0, 0]),
        ({"top_k": 3, "top_p": 0.9}, [4 / 7, 2 / 7, 1 / 7, 0, 0]),
        ({"top_p": 1e-6}, [1, 0, 0, 0, 0]),
        ({"min_p": 0.2}, [4 / 7, 2 / 7, 1 / 7, 0, 0]),
        ({"min_p": 1.0}, [1, 0, 0, 0, 0]),
        ({"min_p": 0.2, "top_k": 2}, [2 / 3, 1 / 3, 0, 0, 0]),
        ({"temperature": 0.0}, [1, 0, 0, 0, 0]),
        ({"temperature": 1e-9}, [1, 0, 0, 0, 0]),
    ],
)  # fmt: skip
def test_draws_follow_the_distribution(changes: dict[str, float], expected: list[float]):
    params = SamplingParams(max_tokens=1, **changes)  # type: ignore[arg-type]
    for seen, wanted in zip(_frequencies(params), expected, strict=True):
        # Four standard deviations of a binomial share; exactly zero stays exactly zero.
        assert abs(seen - wanted) <= 4 * math.sqrt(wanted * (1 - wanted) / NUM_DRAWS) + 1e-4 * (
            wanted > 0
        )


@given(st.integers(-(2**63), 2**63 - 1), st.integers(1, 8), st.integers(0, 7), st.randoms())
@settings(max_examples=60, deadline=None)
def test_a_draw_does_not_depend_on_its_batch(seed: int, size: int, place: int, random):
    params = SamplingParams(max_tokens=1, top_p=0.95, seed=seed)
    generator = torch.Generator().manual_seed(seed % 2**31)
    logits = torch.randn(1, 3000, generator=generator) * 3
    row = SamplingRow(params, seed, 5)
    alone = sample(logits, [row])[0]
    others = torch.randn(size, 3000, generator=generator)
    place = min(place, size)
    batch = torch.cat([others[:place], logits, others[place:]])
    rows = [SamplingRow(params, random.getrandbits(60), 5) for _ in range(size)]
    rows.insert(place, row)
    assert sample(batch, rows)[place] == alone


def test_a_wide_nucleus_is_exact_beyond_the_shortlist():
    logits = torch.zeros(5000)  # uniform: top_p keeps exactly its share of the vocabulary
    params = SamplingParams(max_tokens=1, top_p=0.5)
    rows = [SamplingRow(params, 3, position) for position in range(400)]
    tokens = [token for token in sample(logits.repeat(400, 1), rows) if isinstance(token, int)]
    assert max(tokens) < 2500
    assert len(set(tokens)) > 300


def test_a_row_that_is_not_finite_fails_alone():
    logits = LOGITS.repeat(5, 1)
    logits[1, 3] = float("nan")
    logits[2, 0] = float("inf")
    logits[3, :] = float("-inf")
    logits[4, 0] = float("-inf")  # one impossible token is fine
    params = SamplingParams(max_tokens=1, temperature=0.0)
    tokens = sample(logits, [SamplingRow(params, 0, 0)] * 5)
    assert tokens == [0, *[NoToken.NOT_FINITE] * 3, 1]


def test_uniform_numbers_are_spread_and_reproducible():
    numbers = [uniform(seed, position) for seed in range(50) for position in range(50)]
    assert all(0 <= number < 1 for number in numbers)
    assert len(set(numbers)) == len(numbers)
    assert abs(sum(numbers) / len(numbers) - 0.5) < 0.02
    assert uniform(7, 9) == uniform(7, 9)


def test_a_nucleus_ends_exactly_where_its_share_is_reached():
    params = SamplingParams(max_tokens=1, top_p=0.5)  # of four equal tokens: two, not three
    rows = [SamplingRow(params, 3, position) for position in range(300)]
    assert len(set(sample(torch.zeros(300, 4), rows))) == 2


def test_a_token_of_no_weight_is_never_drawn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pagelet_engine.runner.sampler.uniform", lambda seed, position: 0.0)
    logits = torch.tensor([[float("-inf"), 0.0]])
    assert sample(logits, [SamplingRow(SamplingParams(max_tokens=1), 0, 0)]) == [1]


def test_a_point_on_the_very_end_takes_the_last_token_of_any_weight(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("pagelet_engine.runner.sampler.uniform", lambda seed, position: 1.0)
    logits = torch.tensor([[0.0, 0.0, float("-inf"), float("-inf")]])
    assert sample(logits, [SamplingRow(SamplingParams(max_tokens=1), 0, 0)]) == [1]
