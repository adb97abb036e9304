"""How the next token is chosen and when a sequence stops, as plain data.

Values are checked by `check`, called at the API edge, so that nothing in the step loop
can fail on them. What needs text (stop strings) is the API process's job and is not here.
"""

from dataclasses import dataclass

MAX_STOP_TOKEN_IDS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """Sampling settings of one sequence; names and defaults follow the OpenAI API and vLLM."""

    max_tokens: int
    """Most output tokens, >= 1. The edge fills it in from the context window if absent."""

    temperature: float = 1.0
    """0 picks the most likely token (greedy); higher flattens the distribution. [0, 2]."""

    top_p: float = 1.0
    """Sample from the smallest set of tokens whose probability reaches this. (0, 1]."""

    top_k: int = 0
    """Sample from this many most likely tokens; 0 means all."""

    seed: int | None = None
    """Makes the sequence's draws reproducible whatever else is in the batch."""

    ignore_eos: bool = False
    """Go on after the end-of-sequence token; for load tests with fixed output lengths."""

    stop_token_ids: tuple[int, ...] = ()
    """Token ids that end the sequence, besides the model's own end-of-sequence ids."""

    def check(self, vocab_size: int) -> str | None:
        """Return what is wrong with the values, as `field: sentence`, or None."""
        problems = (
            (self.max_tokens < 1, f"max_tokens: must be at least 1, got {self.max_tokens}"),
            (
                not 0.0 <= self.temperature <= 2.0,
                f"temperature: must be between 0 and 2, got {self.temperature}",
            ),
            (not 0.0 < self.top_p <= 1.0, f"top_p: must be in (0, 1], got {self.top_p}"),
            (self.top_k < 0, f"top_k: must be 0 (off) or positive, got {self.top_k}"),
            (
                self.seed is not None and not -(2**63) <= self.seed < 2**63,
                f"seed: must fit 64 bits, got {self.seed}",
            ),
            (
                len(self.stop_token_ids) > MAX_STOP_TOKEN_IDS,
                f"stop_token_ids: at most {MAX_STOP_TOKEN_IDS}, got {len(self.stop_token_ids)}",
            ),
            (
                any(not 0 <= token < vocab_size for token in self.stop_token_ids),
                f"stop_token_ids: ids must be in [0, {vocab_size})",
            ),
        )
        return next((text for wrong, text in problems if wrong), None)
