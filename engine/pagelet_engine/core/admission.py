"""Who may join the queue: what cannot be served in time is told so at once, with a time to return.

A request that waits only to time out has cost memory, and its client the time to ask elsewhere.
The wait is predicted from how fast the queue has moved, which counts whatever slowed it: prompts,
decodes beside them, a full pool, too few places.
"""

from dataclasses import dataclass
from math import ceil, exp

from pagelet_engine.core.block_manager import BlockManager
from pagelet_engine.core.finish import ErrorKind
from pagelet_engine.core.sequence import Sequence

MAX_RETRY_AFTER_S = 60.0
"""Nobody is sent away for longer: by then the forecast is worth nothing."""
_MEMORY_S = 20.0
"""Busy seconds after which an observation has lost two thirds of its weight."""
_MIN_OBSERVED_S = 1.0
"""Busy seconds before a forecast may refuse anybody."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a sequence is not taken."""

    kind: ErrorKind
    message: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionLimits:
    """What may wait; None means no limit."""

    max_queued_requests: int | None = None
    """Most sequences waiting."""
    max_queued_tokens: int | None = None
    """Most prompt tokens waiting to be computed; those in the prefix cache do not count."""
    max_concurrent_requests: int | None = None
    """Most sequences waiting and running."""
    queue_timeout_s: float | None = None
    """Longest wait for the first step."""

    def __post_init__(self) -> None:
        limits = (self.max_queued_requests, self.max_queued_tokens, self.max_concurrent_requests)
        assert all(limit is None or limit > 0 for limit in limits)
        assert self.queue_timeout_s is None or self.queue_timeout_s > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is in front of a newcomer."""

    num_queued: int
    num_running: int
    num_queued_tokens: int
    """Uncached prompt tokens of the waiting sequences."""
    num_prefill_tokens: int = 0
    """Prompt tokens of running sequences still to be computed."""


class ServiceRate:
    """Prompt tokens computed per second, over the recent time in which any had to be."""

    def __init__(self) -> None:
        self._num_tokens = 0.0
        self._seconds = 0.0

    def observe(self, num_prompt_tokens: int, seconds: float, *, has_backlog: bool) -> None:
        """Take in one step; an idle queue says nothing about how fast it could move."""
        if num_prompt_tokens or has_backlog:
            kept = exp(-seconds / _MEMORY_S)
            self._num_tokens = self._num_tokens * kept + num_prompt_tokens
            self._seconds = self._seconds * kept + seconds

    @property
    def tokens_per_second(self) -> float | None:
        """The rate, > 0; None while too little is known."""
        if self._seconds < _MIN_OBSERVED_S or self._num_tokens <= 0:
            return None
        return self._num_tokens / self._seconds


def impossible(seq: Sequence, blocks: BlockManager, max_model_len: int) -> str | None:
    """Return the sentence why `seq` could never finish, even alone, or None."""
    if not seq.token_ids:
        return "The prompt is empty; at least one token is needed."
    if seq.num_prompt_tokens >= max_model_len:
        return (
            f"The prompt has {seq.num_prompt_tokens} tokens; at most {max_model_len - 1} fit, "
            f"since prompt and output together may take {max_model_len}."
        )
    # The last token of the output is never fed back, so it needs no slot.
    num_slots = min(seq.num_prompt_tokens + seq.sampling.max_tokens, max_model_len) - 1
    num_needed = blocks.num_blocks_for(num_slots)
    if num_needed > blocks.num_blocks:
        return (
            f"Prompt and output need {num_needed} KV blocks of {blocks.block_size} tokens, but "
            f"the whole cache has {blocks.num_blocks}. Ask for fewer tokens."
        )
    return None


def refuse(
    limits: AdmissionLimits,
    load: Load,
    *,
    num_new_tokens: int,
    patience_s: float | None,
    tokens_per_second: float | None,
) -> Refusal | None:
    """Return why a newcomer is refused now, or None if it may wait.

    Args:
        limits: What may wait.
        load: What is in front of it.
        num_new_tokens: Its own uncached prompt tokens, >= 1.
        patience_s: Seconds until its own deadline, or None.
        tokens_per_second: From `ServiceRate`.
    """
    num_present = load.num_queued + load.num_running
    num_waiting_tokens = load.num_queued_tokens + num_new_tokens
    average = load.num_queued_tokens / max(load.num_queued, 1)
    if _exceeds(num_present + 1, limits.max_concurrent_requests):
        return _overloaded("too many requests are in progress", average, tokens_per_second)
    if _exceeds(load.num_queued + 1, limits.max_queued_requests):
        return _overloaded("too many requests are waiting", average, tokens_per_second)
    # An empty queue takes any prompt that fits the model; else a long one could never come in.
    if load.num_queued and _exceeds(num_waiting_tokens, limits.max_queued_tokens):
        excess = num_waiting_tokens - (limits.max_queued_tokens or 0)
        return _overloaded("too many prompt tokens are waiting", excess, tokens_per_second)
    return _too_late(limits, load, num_new_tokens, patience_s, tokens_per_second)


def _too_late(
    limits: AdmissionLimits,
    load: Load,
    num_new_tokens: int,
    patience_s: float | None,
    tokens_per_second: float | None,
) -> Refusal | None:
    if tokens_per_second is None:
        return None
    wait_s = (load.num_queued_tokens + load.num_prefill_tokens) / tokens_per_second
    first_token_s = wait_s + num_new_tokens / tokens_per_second
    queue_excess_s = wait_s - limits.queue_timeout_s if limits.queue_timeout_s else 0.0
    own_excess_s = first_token_s - patience_s if patience_s is not None else 0.0
    if queue_excess_s > 0:
        reason = f"it would wait about {ceil(wait_s)} s, at most {limits.queue_timeout_s:g} s do"
        return _overloaded(reason, queue_excess_s * tokens_per_second, tokens_per_second)
    # Alone it may be too slow for its deadline as well; then waiting elsewhere would not help.
    if own_excess_s > 0 and wait_s > 0:
        reason = (
            f"its first token would take about {ceil(first_token_s)} s, later than the deadline "
            f"in {patience_s:.1f} s"
        )
        return _overloaded(reason, own_excess_s * tokens_per_second, tokens_per_second)
    return None


def _overloaded(reason: str, num_tokens: float, tokens_per_second: float | None) -> Refusal:
    """Refuse until `num_tokens` of the queue have been served."""
    wait_s = num_tokens / tokens_per_second if tokens_per_second else 1.0
    return Refusal(
        ErrorKind.OVERLOADED,
        f"The request was not queued: {reason}. Try again later.",
        min(max(wait_s, 1.0), MAX_RETRY_AFTER_S),
    )


def _exceeds(value: int, limit: int | None) -> bool:
    return limit is not None and value > limit
