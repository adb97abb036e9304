"""From a JSON object to a checked request, or to an error that names the field at fault."""

from dataclasses import replace
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pagelet_engine.constraints.spec import Constraint
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.errors import ContextLengthError, InvalidRequestError, UnknownModelError
from pagelet_engine.server.constraint_fields import REPLACED, constraint_of
from pagelet_engine.server.errors import BadRequestError
from pagelet_engine.server.protocol import (
    MAX_CHOICES,
    MAX_MESSAGES,
    NO_EFFECT,
    OFF_VALUES,
    ChatCompletionRequest,
    CompletionRequest,
    GenerationRequest,
)
from pagelet_engine.server.tool_fields import ToolUse, tool_use

COMPLETION_MAX_TOKENS = 16
"""OpenAI's default for plain completions; chat takes the rest of the context."""

_MAX_NAME_CHARS = 100
_MAX_KEYS = 1024

Body = TypeVar("Body", bound=BaseModel)


def validate(body: type[Body], raw: dict[str, Any]) -> Body:
    """Return `raw` as a `body`.

    Raises:
        BadRequestError: The first thing wrong, with its field; never the field's value, which may
            be somebody's prompt.
    """
    offered = body.model_fields
    for name in raw:
        if name in REPLACED:
            raise _replaced(name)
        if name not in offered and name not in OFF_VALUES and name not in NO_EFFECT:
            raise _unknown(name)
    cleaned = {
        name: _without_nulls(name, value)
        for name, value in raw.items()
        if value is not None and name not in NO_EFFECT
    }
    for name in [name for name in cleaned if name in OFF_VALUES and name not in offered]:
        if not _is_off(cleaned.pop(name), OFF_VALUES[name]):
            raise BadRequestError(
                f"{name} is not supported by this server with that value.",
                code="unsupported_parameter",
                param=name,
            )
    try:
        return body.model_validate(cleaned)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        raise _bad_request(details[0]) from None


def check_model(asked: str | None, served: str) -> None:
    """Refuse a request for another model.

    Raises:
        UnknownModelError: `asked` is not `served`.
    """
    if asked is not None and asked != served:
        raise UnknownModelError(
            f"The model {asked[:_MAX_NAME_CHARS]!r} does not exist here; this server has "
            f"{served!r}.",
            param="model",
        )


def check_options(request: GenerationRequest) -> None:
    """Refuse settings that contradict each other.

    Raises:
        InvalidRequestError: One that only makes sense with another.
    """
    if request.stream_options is not None and not request.stream:
        raise InvalidRequestError(
            "stream_options is only allowed when stream is true.", param="stream_options"
        )
    if isinstance(request, ChatCompletionRequest) and None not in (
        request.max_tokens,
        request.max_completion_tokens,
    ):
        raise InvalidRequestError(
            "max_tokens and max_completion_tokens mean the same; set one of them.",
            param="max_tokens",
        )
    _check_constraint(request)
    _check_logprobs(request)
    num_prompts = len(request.prompt) if isinstance(request, CompletionRequest) else 1
    if num_prompts * request.n > MAX_CHOICES:
        raise InvalidRequestError(
            f"{num_prompts} prompts with n = {request.n} choices each are more than the "
            f"{MAX_CHOICES} a request may ask for.",
            param="n",
        )


def tools_of(request: GenerationRequest) -> ToolUse:
    """Return how the request uses tools.

    Raises:
        InvalidRequestError: `tools` and `tool_choice` contradict each other.
    """
    if not isinstance(request, ChatCompletionRequest):
        return ToolUse()
    return tool_use(request.tools, request.tool_choice, several=request.parallel_tool_calls)


def demand_of(request: GenerationRequest) -> tuple[Constraint, str] | None:
    """Return what the request demands of its output and the field that does so, or None.

    Raises:
        InvalidRequestError: Two demands, or one that cannot be.
    """
    demand = constraint_of(request.response_format, request.structured_outputs)
    use = tools_of(request)
    if demand is not None and use.tools:
        raise InvalidRequestError(
            f"{demand[1]} leaves no room for a tool call; leave out tools, or set tool_choice to "
            f'"none".',
            param=demand[1],
        )
    return demand if use.demand is None else (use.demand, "tools")


def _check_constraint(request: GenerationRequest) -> None:
    demand = demand_of(request)
    if demand is None:
        return
    conflicts = {
        "ignore_eos": request.ignore_eos,
        "min_tokens": request.min_tokens > 0,
        "allowed_token_ids": request.allowed_token_ids is not None,
    }
    for name, is_set in conflicts.items():
        if is_set:
            raise InvalidRequestError(
                f"{name} contradicts {demand[1]}, which decides where the output ends and which "
                f"tokens may come.",
                param=name,
            )


def _check_logprobs(request: GenerationRequest) -> None:
    if request.stream and request.prompt_logprobs is not None:
        raise InvalidRequestError(
            "prompt_logprobs is only allowed when stream is false.", param="prompt_logprobs"
        )
    if not isinstance(request, ChatCompletionRequest) or request.logprobs:
        return
    if request.top_logprobs is not None:
        raise InvalidRequestError(
            "top_logprobs is only allowed when logprobs is true.", param="top_logprobs"
        )


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
    bad_words: tuple[tuple[int, ...], ...] = (),
) -> SamplingParams:
    """Return how to generate one sequence.

    Args:
        request: Checked by type.
        num_prompt_tokens: Length of this sequence's prompt.
        max_model_len: Most tokens of prompt and output together.
        vocab_size: Ids in [0, vocab_size) exist.
        bad_words: `request.bad_words` as token ids.

    Raises:
        InvalidRequestError: A value out of range.
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
    problem = sampling.check(vocab_size)
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


def check_token_ids(token_ids: list[int], vocab_size: int, param: str) -> None:
    """Refuse ids that do not exist.

    Raises:
        InvalidRequestError: One lies outside [0, vocab_size).
    """
    if not all(0 <= token_id < vocab_size for token_id in token_ids):
        raise InvalidRequestError(
            f"{param} holds token ids outside [0, {vocab_size}).", param=param
        )


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


def _is_off(value: object, allowed: tuple[Any, ...]) -> bool:
    # bool is an int to Python, but `n: true` asks for something odd.
    return any(value == off and isinstance(value, bool) == isinstance(off, bool) for off in allowed)


def _without_nulls(name: str, value: object) -> object:
    """Drop nulls from messages and options: clients send back what they were given.

    Bounds what is looked at, too: an error report for each of a million keys would take seconds.
    """
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [_without_nulls(name, item) for item in value[: MAX_MESSAGES + 1]]
    if not isinstance(value, dict):
        return value
    if len(value) > _MAX_KEYS:
        raise BadRequestError(
            f"An object in {name} has {len(value)} fields; at most {_MAX_KEYS} are allowed.",
            code="invalid_value",
            param=name,
        )
    return {key: item for key, item in value.items() if item is not None}


def _replaced(name: str) -> BadRequestError:
    message = f"{name} is not a parameter of this server. Use instead: {REPLACED[name]}."
    return BadRequestError(message, code="unsupported_parameter", param=name)


def _unknown(name: str) -> BadRequestError:
    name = name[:_MAX_NAME_CHARS]
    message = f"Unrecognized request argument supplied: {name}."
    return BadRequestError(message, code="unknown_parameter", param=name)


def _bad_request(error: ErrorDetails) -> BadRequestError:
    param = _path(error["loc"])[:_MAX_NAME_CHARS]
    match error["type"]:
        case "missing":
            code, message = "missing_required_parameter", f"Missing required parameter: {param}."
        case "extra_forbidden":
            return _unknown(param)
        case kind:
            is_type = kind.endswith("_type") or kind == "model_type"
            code = "invalid_type" if is_type else "invalid_value"
            message = f"Invalid {param}: {error['msg']}."
    return BadRequestError(message, code=code, param=param)


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path
