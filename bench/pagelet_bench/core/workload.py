"""Workloads as data: how many requests, how long, how they arrive.

A `Profile` is what a person names; `plan` turns it into the exact list of requests. The list is
a pure function of the profile, so two servers, or two commits, get the same load.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pagelet_bench.core.errors import UsageError
from pagelet_bench.core.sampler import stream

FIRST_TOKEN_ID = 256
"""Lowest id in a prompt: below it tokenizers keep special tokens and single bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lognormal:
    """Token counts: exp(mu + sigma * z) with z standard normal, rounded, clipped to [low, high].

    Raises:
        UsageError: The bounds are empty or not positive, or sigma is negative.
    """

    mu: float
    sigma: float
    low: int
    high: int

    def __post_init__(self) -> None:
        """Refuse what has no values."""
        if not 1 <= self.low <= self.high:
            raise UsageError(
                f"lengths are clipped to {self.low}..{self.high} tokens; the lower bound must be "
                f"at least 1 and not above the upper one."
            )
        if self.sigma < 0:
            raise UsageError(f"sigma is {self.sigma}; a spread must not be negative.")

    def at(self, z: float) -> int:
        """Return the length that belongs to a standard normal draw, in tokens."""
        exponent = self.mu + self.sigma * z
        if exponent >= math.log(self.high):  # also keeps exp() from overflowing
            return self.high
        return max(self.low, round(math.exp(exponent)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One kind of load. Exactly one of `concurrency` and `rate_per_s` is set.

    Raises:
        UsageError: A count or rate is not positive, or both or none of the two is set.
    """

    name: str
    prompts: Lognormal
    outputs: Lognormal
    requests: int
    concurrency: int | None = None
    """Closed loop: so many requests in flight; the next starts when one ends."""

    rate_per_s: float | None = None
    """Open loop: requests arrive by a Poisson process, however slow the answers are."""

    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be planned."""
        if self.requests < 1:
            raise UsageError(f"requests is {self.requests}; ask for at least one.")
        if (self.concurrency is None) == (self.rate_per_s is None):
            raise UsageError("give either a concurrency or a rate, not both and not neither.")
        if self.concurrency is not None and self.concurrency < 1:
            raise UsageError(f"concurrency is {self.concurrency}; it must be at least 1.")
        if self.rate_per_s is not None and not 0 < self.rate_per_s < math.inf:
            raise UsageError(f"rate is {self.rate_per_s}; it must be above 0 requests per second.")


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One request to send.

    Attributes:
        due_s: Open loop: seconds after the start of the run. Closed loop: 0.
        output_tokens: Tokens to generate, exactly: end-of-sequence is ignored.
    """

    index: int
    due_s: float
    prompt_token_ids: tuple[int, ...]
    output_tokens: int


def plan(profile: Profile, *, vocab_size: int) -> tuple[PlannedRequest, ...]:
    """List the requests of a profile, in sending order.

    Guarantees: a longer run starts with the requests of a shorter one, and lengths do not depend
    on `vocab_size`. Ids are uniform in [FIRST_TOKEN_ID, vocab_size), so prompts share no prefix
    worth caching.

    Raises:
        UsageError: The vocabulary is too small.
    """
    if vocab_size <= FIRST_TOKEN_ID:
        raise UsageError(
            f"the vocabulary size is {vocab_size}; it must be above {FIRST_TOKEN_ID}, since lower "
            f"ids are special tokens and bytes."
        )
    prompt_lengths = stream(profile.seed, "prompt lengths")
    output_lengths = stream(profile.seed, "output lengths")
    arrivals = stream(profile.seed, "arrivals")
    due_s = 0.0
    requests = []
    for index in range(profile.requests):
        prompt_tokens = profile.prompts.at(prompt_lengths.normal())
        ids = _token_ids(profile.seed, index, prompt_tokens, vocab_size)
        output_tokens = profile.outputs.at(output_lengths.normal())
        requests.append(PlannedRequest(index, due_s, ids, output_tokens))
        if profile.rate_per_s is not None:
            due_s += arrivals.exponential(profile.rate_per_s)
    return tuple(requests)


def fitted(
    requests: Sequence[PlannedRequest], max_model_len: int | None
) -> tuple[PlannedRequest, ...]:
    """Shorten what a context of `max_model_len` tokens cannot hold: the prompt, then the output.

    Without a known length nothing is shortened.
    """
    if max_model_len is None:
        return tuple(requests)
    short = []
    for request in requests:
        output_tokens = min(request.output_tokens, max(1, max_model_len // 2))
        room = max(1, max_model_len - output_tokens)
        ids = request.prompt_token_ids[:room]
        short.append(replace(request, prompt_token_ids=ids, output_tokens=output_tokens))
    return tuple(short)


def _token_ids(seed: int, index: int, count: int, vocab_size: int) -> tuple[int, ...]:
    ids = stream(seed, f"prompt {index}")
    span = vocab_size - FIRST_TOKEN_ID
    return tuple(FIRST_TOKEN_ID + ids.below(span) for _ in range(count))
