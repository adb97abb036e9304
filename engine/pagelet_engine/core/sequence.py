"""One generation: its tokens, how far they are computed, and when it ends.

    WAITING ──admitted──► RUNNING ──stop, length, abort, error──► FINISHED
       ▲                  │     ▲
       └────preempted─────┤     │
                          └► HELD, while its reader does not keep up

A sequence knows nothing about HTTP, text or tensors.
"""

from dataclasses import dataclass, field
from enum import Enum

from pagelet_engine.core.finish import FinishReason
from pagelet_engine.core.sampling_params import SamplingParams


class SequenceState(Enum):
    """Which queue a sequence is in."""

    WAITING = "waiting"
    RUNNING = "running"
    HELD = "held"
    FINISHED = "finished"


@dataclass(slots=True, eq=False)
class Sequence:
    """Prompt and output of one generation, with the blocks that hold its K/V.

    INVARIANT: 0 <= num_computed_tokens < num_tokens until FINISHED: the newest token's K/V is
    always still to be computed, and computing it yields the next token.
    """

    seq_id: int
    token_ids: list[int]
    """Prompt, then output; grows by `append_token`. The sequence owns this list."""
    sampling: SamplingParams
    num_prompt_tokens: int = 0
    num_computed_tokens: int = 0
    """Leading tokens whose K/V lies in the cache."""
    num_lost_tokens: int = 0
    """Leading tokens that were computed before a preemption took their blocks back."""
    block_table: list[int] = field(default_factory=list)
    """Ids of the blocks that hold tokens [0, block_size), [block_size, 2 * block_size), ..."""
    cache_salt: bytes = b""
    """Only sequences with equal salts share blocks."""
    reads_cache: bool = True
    """False computes every token, for those whose logits are wanted at all positions."""
    block_hashes: list[bytes] = field(default_factory=list)
    """Names of leading full blocks, see `block_hash`; computed when first needed."""
    num_named_blocks: int = 0
    """Leading blocks of `block_table` that others can find."""
    num_cached_tokens: int | None = None
    """Prompt tokens that were in the cache at first admission; None before."""
    tenant: str = ""
    weight: float = 1.0
    """The tenant's share of service, relative to others'."""
    priority: int = 0
    """Higher goes first within the tenant."""
    arrived_at: float = 0.0
    """When it was added, seconds on the scheduler's clock."""
    deadline: float | None = None
    """When it ends with an error, seconds on the same clock."""
    arrival: int = 0
    """Counts up with each sequence added; set by the scheduler."""
    num_queued_tokens: int = 0
    """Tokens to be computed before its next token, as far as known when it was queued."""
    num_preemptions: int = 0
    state: SequenceState = SequenceState.WAITING
    finish_reason: FinishReason | None = None

    def __post_init__(self) -> None:
        self.num_prompt_tokens = len(self.token_ids)

    @property
    def num_tokens(self) -> int:
        """Tokens of prompt and output so far."""
        return len(self.token_ids)

    @property
    def num_output_tokens(self) -> int:
        """Tokens generated so far."""
        return len(self.token_ids) - self.num_prompt_tokens

    @property
    def num_uncomputed_tokens(self) -> int:
        """Tokens whose K/V is missing: many for a new prompt, one while decoding."""
        return len(self.token_ids) - self.num_computed_tokens

    @property
    def output_token_ids(self) -> list[int]:
        """A copy of the tokens generated so far."""
        return self.token_ids[self.num_prompt_tokens :]

    def append_token(
        self, token_id: int, *, eos_token_ids: frozenset[int], max_model_len: int
    ) -> FinishReason | None:
        """Add a generated token and return why the sequence ends with it, or None.

        The token that ends a sequence is part of its output. A stop token wins over a length
        limit reached by the same token.
        """
        self.token_ids.append(token_id)
        if token_id in eos_token_ids and not self.sampling.ignore_eos:
            return FinishReason.STOP
        if token_id in self.sampling.stop_token_ids:
            return FinishReason.STOP
        if self.num_output_tokens >= self.sampling.max_tokens:
            return FinishReason.LENGTH
        return FinishReason.LENGTH if self.num_tokens >= max_model_len else None

    def finish(self, reason: FinishReason) -> None:
        """Enter FINISHED; its blocks must have gone back already."""
        assert not self.block_table, "a finished sequence must hold no blocks"
        self.state = SequenceState.FINISHED
        self.finish_reason = reason
