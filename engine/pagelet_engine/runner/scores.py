"""Log-probabilities of tokens, from the logits as the model gives them.

Float32 log-softmax, row by row: a token's value does not depend on what else is in the batch.
"""

from collections.abc import Callable, Iterator, Sequence

import torch

from pagelet_engine.core.draw import Draw, NoToken
from pagelet_engine.core.logprobs import LEAST_LOGPROB, TokenLogprobs
from pagelet_engine.core.sampling_params import MAX_LOGPROBS
from pagelet_engine.core.step_plan import ScheduledSequence
from pagelet_engine.runner.sampling_row import SamplingRow

_ROWS_AT_ONCE = 64
"""PERF: a whole chunk's logits over a vocabulary of 128k would take a gigabyte."""


class OutputScores:
    """Remembers the rows that want scores until their tokens are drawn, which changes logits."""

    def __init__(self, logits: torch.Tensor, rows: Sequence[SamplingRow]) -> None:
        """Take what is needed of `logits`, [num_rows, vocab_size] float32."""
        wanted = [(i, row.params.logprobs) for i, row in enumerate(rows)]
        self._wanted = [(index, num_top) for index, num_top in wanted if num_top is not None]
        self._logprobs: torch.Tensor | None = None
        if self._wanted:
            chosen = logits[[index for index, _ in self._wanted]]
            self._logprobs = chosen.log_softmax(dim=-1)

    def of(self, draws: Sequence[Draw]) -> Iterator[tuple[int, TokenLogprobs]]:
        """Yield row and scores of each token wanted; rows without a token have none."""
        if self._logprobs is None:
            return
        wanted = [draws[index] for index, _ in self._wanted]
        token_ids = [0 if isinstance(draw, NoToken) else draw for draw in wanted]
        nums = [num_top for _, num_top in self._wanted]
        scores = score(self._logprobs, token_ids, nums)
        for (index, _), draw, found in zip(self._wanted, wanted, scores, strict=True):
            if not isinstance(draw, NoToken):
                yield index, found


def score(
    logprobs: torch.Tensor, token_ids: Sequence[int], nums_top: Sequence[int]
) -> list[TokenLogprobs]:
    """Return what `logprobs` says about one token per row.

    Args:
        logprobs: [num_rows, vocab_size] float32.
        token_ids: One per row, in the vocabulary.
        nums_top: How many most likely tokens to name, one per row; at most MAX_LOGPROBS.
    """
    tokens = torch.tensor(token_ids, device=logprobs.device)[:, None]
    own = logprobs.gather(-1, tokens)
    ranks = (logprobs > own).sum(dim=-1) + 1
    # Always as many, so that which of two equal tokens comes first does not depend on the batch.
    values, ids = logprobs.topk(min(MAX_LOGPROBS, logprobs.shape[-1]))
    columns = (own[:, 0].tolist(), ranks.tolist(), ids.tolist(), values.tolist())
    return [
        TokenLogprobs(
            token,
            _finite(logprob),
            rank,
            tuple((id_, _finite(value)) for id_, value in zip(top[:num], best[:num], strict=True)),
        )
        for token, num, logprob, rank, top, best in zip(token_ids, nums_top, *columns, strict=True)
    ]


def prompt_scores(
    item: ScheduledSequence, hidden: torch.Tensor, to_logits: Callable[[torch.Tensor], torch.Tensor]
) -> list[TokenLogprobs]:
    """Return the scores of the prompt tokens that `item`'s run of tokens predicts.

    Tokens that a preemption makes the engine compute again are not scored again.

    Args:
        item: Part of a sequence that wants prompt scores.
        hidden: [item.num_tokens, hidden_size]: the model's output for that part.
        to_logits: From hidden states to logits, float32.
    """
    seq, num_top = item.seq, item.seq.sampling.prompt_logprobs
    assert num_top is not None, "the caller picks the sequences"
    # Row p predicts token p + 1; the last row of the prompt predicts the first output token.
    first = max(item.start, seq.num_lost_tokens)
    last = min(item.start + item.num_tokens, seq.num_prompt_tokens - 1)
    found: list[TokenLogprobs] = []
    for start in range(first, last, _ROWS_AT_ONCE):
        end = min(start + _ROWS_AT_ONCE, last)
        logits = to_logits(hidden[start - item.start : end - item.start])
        targets = seq.token_ids[start + 1 : end + 1]
        found += score(logits.log_softmax(dim=-1), targets, [num_top] * len(targets))
    return found


def _finite(logprob: float) -> float:
    # Written so that NaN, which only a broken model gives, ends here too.
    return logprob if logprob > LEAST_LOGPROB else LEAST_LOGPROB
