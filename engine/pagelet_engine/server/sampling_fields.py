"""From a checked request to how each of its sequences is generated, within the model's context."""

from dataclasses import replace

from pagelet_engine.core.first_token import no_first_token
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.errors import ContextLengthError, InvalidRequestError
from pagelet_engine.server.protocol import (
    ChatCompletionRequest,
    CompletionRequest,
    GenerationRequest,
)

COMPLETION_MAX_TOKENS = 16
"""OpenAI's default for plain completions; chat takes the rest of the context."""


def num_logprobs(request: GenerationRequest) -> int | None:
    """Return how many most likely tokens to name at each output token; None: no logprobs."""
    if isinstance(request, ChatCompletionRequest):
        return (request.top_logprobs or 0) if request.logprobs else None
    return request.logprobs if isinstance(request, CompletionRequest) else None


def wants_prompt_only(request: GenerationRequest) -> bool:
    """Whether the answer is the prompt itself: `echo` with no token to generate."""
    return isinstance(request, CompletionRequest) and request.echo and request.max_tokens == 0


def sampling_params(
    request: GenerationRequest,
    *,
    num_prompt_tokens: int,
    max_model_len: int,
    vocab_size: int,
    eos_token_ids: frozenset[int] = frozenset(),
    bad_words: tuple[tuple[int, ...], ...] = (),
) -> SamplingParams:
    """Return how to generate one sequence.

    Args:
        request: Checked by type.
        num_prompt_tokens: Length of this sequence's prompt.
        max_model_len: Most tokens of prompt and output together.
        vocab_size: Ids in [0, vocab_size) exist.
        eos_token_ids: What ends a sequence by itself.
        bad_words: `request.bad_words` as token ids.

    Raises:
        InvalidRequestError: A value out of range, or values that leave no token.
        ContextLengthError: Prompt and output cannot fit.
    """
    max_tokens, field = _max_tokens(request)
    if wants_prompt_only(request):
        max_tokens = 1  # the engine always generates; it is not shown
    room = max_model_len - num_prompt_tokens
    sampling = SamplingParams(
        max_tokens=max(room, 1) if max_tokens is None else max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=max(request.top_k, 0) if request.top_k >= -1 else request.top_k,  # vLLM's -1 is off
        min_p=request.min_p,
        seed=request.seed,
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        repetition_penalty=request.repetition_penalty,
        logit_bias=request.logit_bias,
        allowed_token_ids=_tuple(request.allowed_token_ids),
        bad_words=bad_words,
        min_tokens=request.min_tokens,
        ignore_eos=request.ignore_eos,
        stop_token_ids=tuple(request.stop_token_ids),
        logprobs=num_logprobs(request),
        prompt_logprobs=_num_prompt_logprobs(request),
    )
    problem = sampling.check(vocab_size) or no_first_token(sampling, vocab_size, eos_token_ids)
    if problem is not None:
        name, _, sentence = problem.partition(": ")
        name = field if name == "max_tokens" else name
        raise InvalidRequestError(f"{name} {sentence}.", param=name)
    if room < 1 or (max_tokens is not None and max_tokens > room):
        raise _too_long(num_prompt_tokens, max_tokens, max_model_len, field)
    return sampling


def choices(sampling: SamplingParams, n: int) -> list[SamplingParams]:
    """Return how to generate each of `n` choices: alike, but each with draws of its own."""
    if sampling.seed is None or n == 1:
        return [sampling] * n
    return [replace(sampling, seed=_wrap(sampling.seed + index)) for index in range(n)]


def _num_prompt_logprobs(request: GenerationRequest) -> int | None:
    """Return the most that `prompt_logprobs` and an echo with logprobs ask for."""
    echoed = request.logprobs if isinstance(request, CompletionRequest) and request.echo else None
    asked = [number for number in (request.prompt_logprobs, echoed) if number is not None]
    return max(asked, default=None)


def _wrap(seed: int) -> int:
    """Bring a seed back into 64 bits."""
    return (seed + 2**63) % 2**64 - 2**63


def _tuple(values: list[int] | None) -> tuple[int, ...] | None:
    return None if values is None else tuple(values)


def _max_tokens(request: GenerationRequest) -> tuple[int | None, str]:
    if not isinstance(request, ChatCompletionRequest):
        given = request.max_tokens
        return COMPLETION_MAX_TOKENS if given is None else given, "max_tokens"
    if request.max_completion_tokens is not None:
        return request.max_completion_tokens, "max_completion_tokens"
    return request.max_tokens, "max_tokens"


def _too_long(
    num_prompt_tokens: int, max_tokens: int | None, max_model_len: int, field: str
) -> ContextLengthError:
    asked = 1 if max_tokens is None else max_tokens
    prompt_fits = num_prompt_tokens < max_model_len
    return ContextLengthError(
        f"This model's context holds {max_model_len} tokens. The prompt has {num_prompt_tokens} "
        f"and at least {asked} should be generated, {num_prompt_tokens + asked} together. "
        + (f"Lower {field} or shorten the prompt." if prompt_fits else "Shorten the prompt."),
        param=field if prompt_fits else None,
    )
