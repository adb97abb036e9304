"""How likely the model found a token, as plain data."""

from dataclasses import dataclass, field

LEAST_LOGPROB = -9999.0
"""Stands for a probability of zero: JSON has no infinity."""


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """One token's natural log-probability, and the most likely tokens at its place.

    Taken from the model's own distribution: before temperature, penalties, bias and any mask. So
    they say what the model thought, not how the token was drawn.
    """

    token_id: int
    logprob: float
    rank: int
    """1 for the most likely token; how many tokens are more likely, plus one."""
    top: tuple[tuple[int, float], ...] = ()
    """Ids and log-probabilities of as many most likely tokens as asked for, falling."""


@dataclass(frozen=True, slots=True)
class StepScores:
    """What one step found out about tokens, by sequence id; only for those that asked."""

    output: dict[int, TokenLogprobs] = field(default_factory=dict)
    """The new token's."""
    prompt: dict[int, list[TokenLogprobs]] = field(default_factory=dict)
    """Those of the prompt tokens that this step's run of the prompt predicts, in order."""
