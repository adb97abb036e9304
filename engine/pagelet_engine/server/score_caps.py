"""How many log-probabilities one answer may hold: each field has its bound, their product here.

A number that a client asks for becomes an object of the answer, about 70 bytes of JSON (more where
tokens are long) and several times that while it is made; choices times positions times
alternatives could be gigabytes for a request of a hundred bytes. With `MAX_SCORES` the largest
answer has about 9 MB, and the API process needs 35 MB for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.errors import InvalidRequestError
from pagelet_engine.server.protocol import (
    ChatCompletionRequest,
    CompletionRequest,
    GenerationRequest,
)
from pagelet_engine.server.sampling_fields import num_logprobs

MAX_SCORES = 2**17
"""Of one answer. A prompt of 6,000 tokens with 20 alternatives each, or one output of as many."""


@dataclass(frozen=True, slots=True)
class ScoreCap:
    """What each token of one request's answer costs, in log-probabilities."""

    per_prompt_token: int
    per_output_token: int
    num_choices: int
    """Of each prompt."""
    field: str
    """Which asks for those of the output."""
    has_default_length: bool
    """Whether the client leaves the output's length to the server, which may lower it."""

    @classmethod
    def of(cls, body: GenerationRequest) -> "ScoreCap":
        """Return what `body` asks for; the token itself counts beside its alternatives."""
        output, prompt = num_logprobs(body), body.prompt_logprobs
        echoes = isinstance(body, CompletionRequest) and body.echo
        is_chat = isinstance(body, ChatCompletionRequest)
        length = body.max_tokens
        if isinstance(body, ChatCompletionRequest) and body.max_completion_tokens is not None:
            length = body.max_completion_tokens
        per_output = 0 if output is None else 1 + output
        return cls(
            per_prompt_token=(0 if prompt is None else 1 + prompt) + per_output * echoes,
            per_output_token=per_output,
            num_choices=body.n,
            field="top_logprobs" if is_chat else "logprobs",
            has_default_length=length is None,
        )

    def applied(
        self, samplings: Sequence[SamplingParams], prompts: Sequence[Sequence[int]]
    ) -> list[SamplingParams]:
        """Return `samplings`, one per prompt, with default lengths that keep to the cap.

        Raises:
            InvalidRequestError: The answer could hold more than MAX_SCORES.
        """
        on_prompts = sum(map(len, prompts)) * self.per_prompt_token * self.num_choices
        if on_prompts > MAX_SCORES:
            raise self._refusal(on_prompts, "prompt_logprobs")
        kept = list(samplings)
        if self.has_default_length and self.per_output_token:
            room = MAX_SCORES - on_prompts
            most = room // (self.per_output_token * self.num_choices * len(prompts))
            kept = [_shortened(sampling, most) for sampling in kept]
        total = on_prompts + self.num_choices * self.per_output_token * sum(
            sampling.max_tokens for sampling in kept
        )
        if total > MAX_SCORES:
            raise self._refusal(total, self.field)
        return kept

    def _refusal(self, num_scores: int, field: str) -> InvalidRequestError:
        return InvalidRequestError(
            f"The answer could hold {num_scores} log-probabilities: {self.per_prompt_token} for "
            f"each prompt token and {self.per_output_token} for each output token, for each of "
            f"{self.num_choices} choices; at most {MAX_SCORES} are allowed in one answer. Lower n, "
            f"max_tokens or {field}, or send fewer or shorter prompts per request.",
            param=field,
        )


def _shortened(sampling: SamplingParams, most: int) -> SamplingParams:
    least = max(1, sampling.min_tokens)
    return replace(sampling, max_tokens=max(least, min(sampling.max_tokens, most)))
