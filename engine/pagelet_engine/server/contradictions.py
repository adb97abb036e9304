"""Settings of one request that only make sense together, or not together."""

import msgspec

from pagelet_engine.constraints.spec import Constraint
from pagelet_engine.errors import InvalidRequestError
from pagelet_engine.server.constraint_fields import constraint_of
from pagelet_engine.server.protocol import (
    MAX_CHOICES,
    ChatCompletionRequest,
    CompletionRequest,
    GenerationRequest,
)
from pagelet_engine.server.tool_fields import ToolUse, tool_use
from pagelet_engine.text.dialect import Dialect
from pagelet_engine.text.reasoning import Thinking


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


def demand_of(
    request: GenerationRequest, dialect: Dialect, thinking: Thinking
) -> tuple[Constraint, str] | None:
    """Return what the request demands of its output and the field that does so, or None.

    Args:
        request: Checked.
        dialect: How the model writes calls and thoughts.
        thinking: Where the output begins; the demand holds behind the thought.

    Raises:
        InvalidRequestError: Two demands, or one that cannot be.
    """
    demand = constraint_of(request.response_format, request.structured_outputs)
    use = tools_of(request)
    if use.must:  # then no other output can come, so its form does not matter
        demand = use.calls(dialect.tools), "tools"
    elif demand is not None and use.tools:
        calls = use.calls(dialect.tools).source
        demand = msgspec.structs.replace(demand[0], calls=calls), demand[1]
    elif demand is None and use.is_strict:
        demand = use.may_call(dialect.tools), "tools"
    if demand is None:
        return None
    return msgspec.structs.replace(demand[0], preface=dialect.preface(thinking)), demand[1]


def _check_constraint(request: GenerationRequest) -> None:
    demand = constraint_of(request.response_format, request.structured_outputs)
    use = tools_of(request)
    param = "tools" if use.must or use.is_strict else demand[1] if demand is not None else None
    if param is not None and request.ignore_eos:
        raise InvalidRequestError(
            f"ignore_eos contradicts {param}, which decides where the output ends.",
            param="ignore_eos",
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
