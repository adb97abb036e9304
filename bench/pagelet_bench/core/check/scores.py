"""Reads log-probabilities in both of OpenAI's forms and says whether they can be."""

import math
from dataclasses import dataclass
from typing import Any

from pagelet_bench.core.check.answers import is_number, must

_TOLERANCE = 1e-3
"""Sums of rounded float32 values exceed 1 by less; an error of normalisation is larger."""


@dataclass(frozen=True, slots=True)
class Score:
    """One token's log-probability and those of the likeliest at its place."""

    logprob: float
    tops: tuple[float, ...]

    def check(self) -> None:
        """End the probe as broken unless these are logarithms of probabilities."""
        for value in (self.logprob, *self.tops):
            must(value <= _TOLERANCE, f"a log-probability of {value:g} is above 0")
        total = sum(math.exp(min(value, 1.0)) for value in self.tops)
        must(total <= 1.0 + _TOLERANCE, f"top_logprobs add up to a probability of {total:g}")

    @property
    def is_best(self) -> bool:
        """Whether no other token at this place is likelier."""
        return self.logprob >= max(self.tops, default=self.logprob) - _TOLERANCE


def chat_scores(logprobs: Any) -> list[Score]:
    """Read `{"content": [{"token", "logprob", "bytes", "top_logprobs"}]}`."""
    must(isinstance(logprobs, dict), "logprobs is not an object")
    items = logprobs.get("content")
    must(isinstance(items, list) and bool(items), "logprobs.content is not a list of tokens")
    return [_chat_score(item) for item in items]


def completion_scores(logprobs: Any) -> list[Score]:
    """Read `{"tokens", "token_logprobs", "top_logprobs", "text_offset"}`, lists of one length."""
    must(isinstance(logprobs, dict), "logprobs is not an object")
    names = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
    columns = [logprobs.get(name) for name in names]
    for name, column in zip(names, columns, strict=True):
        must(isinstance(column, list) and bool(column), f"logprobs.{name} is not a list")
    must(len({len(column) for column in columns if column}) == 1, "the lists differ in length")
    _, values, tops, _ = columns
    assert values is not None
    assert tops is not None
    return [_completion_score(value, top) for value, top in zip(values, tops, strict=True)]


def _completion_score(value: Any, top: Any) -> Score:
    must(is_number(value), f"a token's log-probability is {value!r}")
    must(isinstance(top, dict), "top_logprobs of a token is not an object")
    must(all(is_number(number) for number in top.values()), "a top log-probability is no number")
    return Score(float(value), tuple(map(float, top.values())))


def _chat_score(item: Any) -> Score:
    must(isinstance(item, dict), "an item of logprobs.content is not an object")
    must(isinstance(item.get("token"), str), "an item of logprobs.content has no token")
    value, tops = item.get("logprob"), item.get("top_logprobs")
    must(is_number(value), f"a token's log-probability is {value!r}")
    must(isinstance(tops, list), "top_logprobs of a token is not a list")
    for top in tops:
        must(isinstance(top, dict) and is_number(top.get("logprob")), "a top_logprob is no number")
    return Score(float(value), tuple(float(top["logprob"]) for top in tops))
