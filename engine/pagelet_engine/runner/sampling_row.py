"""What the sampler is told about one row of logits."""

from collections.abc import Sequence
from dataclasses import dataclass

from pagelet_engine.core.sampling_params import SamplingParams


@dataclass(frozen=True, slots=True)
class SamplingRow:
    """How to draw from one row of logits; all that a draw may depend on."""

    params: SamplingParams
    seed: int
    """The sequence's own, whether or not the client gave it."""
    position: int
    """Index of the token to draw in its sequence."""
    token_ids: Sequence[int] = ()
    """Prompt and output so far; read only if `params.changes_logits`."""
    num_prompt_tokens: int = 0

    @property
    def output_token_ids(self) -> Sequence[int]:
        """A copy of the tokens generated so far."""
        return self.token_ids[self.num_prompt_tokens :]

    @property
    def num_output_tokens(self) -> int:
        """Tokens generated so far."""
        return len(self.token_ids) - self.num_prompt_tokens
