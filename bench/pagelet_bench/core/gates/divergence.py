"""How far two revisions' greedy answers to the same prompts agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile


@dataclass(frozen=True, slots=True)
class Answer:
    """One greedy completion.

    Attributes:
        tokens: As text, one item per token.
        logprobs: Natural logarithm of each token's probability; empty if not told.
    """

    tokens: tuple[str, ...]
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """Both revisions' answers to one prompt."""

    canary: Answer
    stable: Answer

    @property
    def agreed(self) -> int:
        """Tokens before the first that differs."""
        pairs = zip(self.canary.tokens, self.stable.tokens, strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    @property
    def length(self) -> int:
        """Tokens of the longer answer: what ends too early has parted as well."""
        return max(len(self.canary.tokens), len(self.stable.tokens))


def figures(pairs: Sequence[Pair]) -> dict[str, float]:
    """Return a parity gate's figures.

    Returns:
        `prompts` compared; `agreementPercent`, tokens before the first that differs in percent
        of all; `identicalPercent` of prompts; `firstDivergence`, mean position of the first
        token that differs, where any does; `logprobDistance`, mean difference of the agreed
        tokens' log-probabilities (nats), where both told them.
    """
    if not pairs:
        return {"prompts": 0.0}
    total = sum(pair.length for pair in pairs)
    parted = [pair.agreed for pair in pairs if pair.agreed < pair.length]
    found = {
        "prompts": float(len(pairs)),
        # Two empty answers are the same answer.
        "agreementPercent": 100.0 * sum(p.agreed for p in pairs) / total if total else 100.0,
        "identicalPercent": 100.0 * (len(pairs) - len(parted)) / len(pairs),
    }
    if parted:
        found["firstDivergence"] = sum(parted) / len(parted)
    apart = [distance for pair in pairs for distance in _distances(pair)]
    if apart:
        found["logprobDistance"] = sum(apart) / len(apart)
    return found


def _distances(pair: Pair) -> list[float]:
    both = zip(pair.canary.logprobs, pair.stable.logprobs, strict=False)
    return [abs(ours - theirs) for ours, theirs in list(both)[: pair.agreed]]
