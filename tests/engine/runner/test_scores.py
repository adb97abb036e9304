"""Log-probabilities are those of a plain float64 softmax over the model's own logits."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.core.sequence import Sequence
from pagelet_engine.core.step_plan import ScheduledSequence
from pagelet_engine.runner.sampler import sample
from pagelet_engine.runner.sampling_row import SamplingRow
from pagelet_engine.runner.scores import OutputScores, prompt_scores, score

VOCAB = 40


def row(**changes: object) -> SamplingRow:
    return SamplingRow(SamplingParams(max_tokens=1, **changes), 5, 1, [1], 1)  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(0, VOCAB - 1), st.integers(0, 20))
def test_a_token_gets_its_share_its_rank_and_its_rivals(seed: int, token: int, num_top: int):
    logits = torch.randn(1, VOCAB, generator=torch.Generator().manual_seed(seed)) * 3
    found = score(logits.log_softmax(-1), [token], [num_top])[0]
    weights = [math.exp(value) for value in logits[0].tolist()]
    expected = [math.log(weight / sum(weights)) for weight in weights]
    assert found.token_id == token
    assert found.logprob == pytest.approx(expected[token], abs=1e-4)
    assert found.rank == 1 + sum(value > expected[token] for value in expected)
    best = sorted(range(VOCAB), key=lambda i: -expected[i])[:num_top]
    assert [id_ for id_, _ in found.top] == best
    assert [value for _, value in found.top] == pytest.approx([expected[i] for i in best], abs=1e-4)


def test_scores_are_what_the_model_thought_before_any_rule():
    logits = torch.zeros(3, 4)
    rows = [row(logprobs=1, allowed_token_ids=(2,)), row(), row(logprobs=0, temperature=0.1)]
    scores = OutputScores(logits, rows)
    tokens = sample(logits, rows)
    found = dict(scores.of(tokens))
    assert set(found) == {0, 2}
    assert found[0].token_id == 2
    assert found[0].logprob == pytest.approx(math.log(1 / 4))
    assert len(found[0].top) == 1
    assert found[2].logprob == pytest.approx(math.log(1 / 4))
    assert found[2].top == ()


def test_a_row_without_a_token_has_no_scores():
    logits = torch.full((2, 4), float("nan"))
    logits[1] = 0.0
    rows = [row(logprobs=2), row(logprobs=2)]
    scores = OutputScores(logits, rows)
    assert set(dict(scores.of(sample(logits, rows)))) == {1}


def test_an_impossible_token_has_a_finite_score():
    found = score(torch.tensor([[0.0, -math.inf]]), [1], [2])[0]
    assert found.logprob == -9999.0
    assert found.top == ((0, 0.0), (1, -9999.0))


@given(
    st.integers(1, 150),
    st.lists(st.integers(1, 90), min_size=1, max_size=6),
    st.integers(0, 150),
)
@settings(deadline=None)
def test_chunks_and_recomputation_score_each_prompt_token_once(
    num_prompt: int, chunks: list[int], num_lost: int
):
    params = SamplingParams(max_tokens=1, prompt_logprobs=1)
    tokens = [(7 * i) % VOCAB for i in range(num_prompt)]
    table = torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(3))
    hidden = torch.nn.functional.one_hot(torch.tensor(tokens), VOCAB).float()
    found = []

    def run(start: int, end: int, num_lost: int) -> None:
        seq = Sequence(1, tokens, params)
        seq.num_lost_tokens = num_lost
        item = ScheduledSequence(seq, start, end - start)
        found.extend(prompt_scores(item, hidden[start:end], lambda rows: rows @ table))

    num_lost = min(num_lost, num_prompt)
    if num_lost:  # computed, then preempted: begins again at 0
        run(0, num_lost, 0)
    start = 0
    for size in [*chunks, num_prompt]:
        end = min(start + size, num_prompt)
        if end > start:
            run(start, end, num_lost)
        start = end
    expected = table[tokens[:-1]].log_softmax(-1)
    assert [item.token_id for item in found] == tokens[1:]
    for index, item in enumerate(found):
        assert item.logprob == pytest.approx(float(expected[index, tokens[index + 1]]), abs=1e-5)
