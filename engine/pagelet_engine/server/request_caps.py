"""What one request may have at most, below what the model could do: checked before it is queued."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.errors import InvalidRequestError, OutputCapError, PromptCapError
from pagelet_engine.server.auth import Caller
from pagelet_engine.server.protocol import ChatCompletionRequest, GenerationRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCaps:
    """The caps of one request; None is no cap but the model's."""

    max_prompt_tokens: int | None
    """Of each prompt."""
    max_output_tokens: int | None
    """Of all sequences together."""
    num_sequences: int

    @classmethod
    def of(cls, caller: Caller, num_sequences: int) -> "RequestCaps":
        """Return what the gateway allows this caller."""
        return cls(
            max_prompt_tokens=caller.max_prompt_tokens,
            max_output_tokens=caller.max_output_tokens,
            num_sequences=num_sequences,
        )

    def check_output(self, body: GenerationRequest) -> None:
        """Refuse what asks for more than it may have.

        Raises:
            OutputCapError: So many sequences, or so many tokens for each, exceed the cap.
        """
        cap, asked, field = self.max_output_tokens, body.max_tokens, "max_tokens"
        if isinstance(body, ChatCompletionRequest) and body.max_completion_tokens is not None:
            asked, field = body.max_completion_tokens, "max_completion_tokens"
        if cap is None:
            return
        if self.num_sequences > cap:
            raise OutputCapError(
                f"{self.num_sequences} answers are asked for; all together may have {cap} output "
                "tokens here.",
                param="n",
            )
        if asked is not None and asked * self.num_sequences > cap:
            raise OutputCapError(
                f"{field} is {asked} for each of {self.num_sequences} answers; all together may "
                f"have {cap} output tokens here.",
                param=field,
            )

    def check_prompts(self, prompts: Sequence[Sequence[int]]) -> None:
        """Refuse a prompt that is too long.

        Raises:
            PromptCapError: One has more tokens than the cap.
        """
        longest = max(map(len, prompts), default=0)
        if self.max_prompt_tokens is not None and longest > self.max_prompt_tokens:
            raise PromptCapError(
                f"The prompt has {longest} tokens; at most {self.max_prompt_tokens} are allowed "
                "here. Shorten it."
            )

    def lowered(self, sampling: SamplingParams) -> SamplingParams:
        """Return `sampling` with a default of output tokens that keeps to the cap.

        What was asked for has passed `check_output` and stays as it is.

        Raises:
            InvalidRequestError: `min_tokens` is above the cap.
        """
        if self.max_output_tokens is None:
            return sampling
        most = min(sampling.max_tokens, self.max_output_tokens // self.num_sequences)
        if sampling.min_tokens > most:
            raise InvalidRequestError(
                f"min_tokens is {sampling.min_tokens}; each answer may have {most} output tokens "
                "here.",
                param="min_tokens",
            )
        return replace(sampling, max_tokens=most)
