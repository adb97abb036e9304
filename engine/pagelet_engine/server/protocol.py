"""The request bodies of the OpenAI API, as far as they are served here, checked by type.

Nothing is ignored that would change the output: a parameter known to OpenAI but not offered here
is accepted only with the value that means "off" (`OFF_VALUES`), an unknown one is refused. Ranges
are checked by `SamplingParams.check`, lengths once the prompt is tokenized.

Source: https://platform.openai.com/docs/api-reference/chat/create and /completions/create.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, PlainValidator, model_validator
from pydantic_core import PydanticCustomError

from pagelet_engine.core.sampling_params import MAX_LOGPROBS
from pagelet_engine.server.constraint_fields import ResponseFormat, StructuredOutputs
from pagelet_engine.server.strict_model import StrictModel
from pagelet_engine.server.template_fields import TemplateFields, rendering_of
from pagelet_engine.server.tool_fields import MAX_TOOLS, ToolCall, ToolChoice, ToolSpecs
from pagelet_engine.text.chat_template import Rendering

MAX_STOP_STRINGS = 4
MAX_STOP_CHARS = 256
MAX_PROMPTS = 128
MAX_MESSAGES = 4096
MAX_PROMPT_TOKEN_IDS = 2**20
MAX_CHOICES = 128
MAX_COMPLETION_LOGPROBS = 5
MAX_TIMEOUT_S = 24 * 3600.0
MAX_BAD_WORDS = 64
MAX_BAD_WORD_CHARS = 64

_MAX_ID_DIGITS = 9

OFF_VALUES: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "top_logprobs": (),
    "echo": (False,),
    "suffix": ("",),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "reasoning_effort": (),
    "verbosity": (),
    "web_search_options": (),
    "service_tier": ("auto", "default"),
    "store": (False,),
}
"""Parameters of OpenAI's API and vLLM's extension that are not offered, and the values that ask
for nothing. `null` always does."""

NO_EFFECT = frozenset({"metadata", "prompt_cache_key", "safety_identifier"})
"""Parameters that never change the output; any value is accepted."""


def _stop_list(value: object) -> object:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise PydanticCustomError("string_type", "must be a string or a list of strings")
    if len(stops) > MAX_STOP_STRINGS:
        raise PydanticCustomError(
            "too_long", "at most {most} stop strings are allowed", {"most": MAX_STOP_STRINGS}
        )
    if not all(1 <= len(stop) <= MAX_STOP_CHARS for stop in stops):
        raise PydanticCustomError(
            "bad_length", "each must have 1 to {most} characters", {"most": MAX_STOP_CHARS}
        )
    return stops


def _bias_pairs(value: object) -> object:
    """Bring JSON's text keys to token ids; `SamplingParams.check` sees to the ranges."""
    if not isinstance(value, dict):
        raise PydanticCustomError("bias_type", "must be an object from token ids to numbers")
    for token_id, bias in value.items():
        if not (token_id.isascii() and token_id.isdecimal() and len(token_id) <= _MAX_ID_DIGITS):
            raise PydanticCustomError("bad_key", "each key must be a token id")
        if isinstance(bias, bool) or not isinstance(bias, int | float):
            raise PydanticCustomError("bias_type", "each value must be a number")
    pairs = {int(token_id): float(bias) for token_id, bias in value.items()}
    if len(pairs) < len(value):
        raise PydanticCustomError("bad_key", "each token id must appear once")
    return tuple(pairs.items())


def _prompt_list(value: object) -> object:
    """Bring the four forms OpenAI allows to one: a list of texts and of token-id lists."""
    if isinstance(value, str) or (isinstance(value, list) and type(next(iter(value), 0)) is int):
        value = [value]  # checked below, like those that come as lists
    if not isinstance(value, list) or not value:
        raise PydanticCustomError(
            "prompt_type",
            "must be a non-empty string, list of strings, list of token ids, or list of those",
        )
    if len(value) > MAX_PROMPTS:
        raise PydanticCustomError(
            "too_long", "at most {most} prompts are allowed in one request", {"most": MAX_PROMPTS}
        )
    for index, item in enumerate(value):
        if item in ("", []):
            raise PydanticCustomError("empty", "item {index} is empty", {"index": index})
        if isinstance(item, list) and len(item) > MAX_PROMPT_TOKEN_IDS:
            raise PydanticCustomError(
                "too_long", "at most {most} token ids are allowed", {"most": MAX_PROMPT_TOKEN_IDS}
            )
        if not isinstance(item, str) and not _is_token_ids(item):
            raise PydanticCustomError(
                "prompt_type",
                "item {index} must be a string or a list of token ids",
                {"index": index},
            )
    return value


def _is_token_ids(value: object) -> bool:
    # PERF: a body can hold millions of ids, and streams wait meanwhile; `all` would take 4x longer.
    return isinstance(value, list) and set(map(type, value)) == {int}


def _content_text(value: object) -> object:
    """Join text parts to one text; the order is all that matters to a text model."""
    if not isinstance(value, list):
        return value
    texts: list[str] = []
    for index, part in enumerate(value):
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get("text") if isinstance(part, dict) else None
        if kind != "text" or not isinstance(text, str):
            raise PydanticCustomError(
                "content_part",
                "part {index} is not a text part; this model reads text only",
                {"index": index},
            )
        texts.append(text)
    return "\n".join(texts)


class TextPart(BaseModel):
    """A part of a message, as the API's document shows it; `_content_text` checks it."""

    type: Literal["text"]
    text: str


class Message(StrictModel):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[
        str, BeforeValidator(_content_text, json_schema_input_type=str | list[TextPart])
    ]
    name: str | None = None
    tool_calls: list[ToolCall] | None = Field(default=None, max_length=MAX_TOOLS)
    tool_call_id: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None

    @property
    def thought(self) -> str:
        """What the model thought before it said this; clients send it back by either name."""
        return self.reasoning_content or self.reasoning or ""

    def as_template_reads(self) -> dict[str, Any]:
        """Return the message with its thought under the name that templates read."""
        dumped = self.model_dump(exclude_none=True, exclude={"reasoning", "reasoning_content"})
        return dumped | ({"reasoning_content": self.thought} if self.thought else {})

    @model_validator(mode="before")
    @classmethod
    def _calls_need_no_text(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("tool_calls") and "content" not in value:
            return {**value, "content": ""}
        return value


class StreamOptions(StrictModel):
    """What a stream carries beside the text."""

    include_usage: bool = False
    include_obfuscation: Literal[False] = False
    """Padding against readers of packet sizes is not offered; clients that save it say false."""


BadWord = Annotated[str, Field(min_length=1, max_length=MAX_BAD_WORD_CHARS)]


class GenerationRequest(StrictModel):
    """What chat and plain completions have in common."""

    model: str
    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    n: int = Field(default=1, ge=1, le=MAX_CHOICES)
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Annotated[
        tuple[tuple[int, float], ...],
        PlainValidator(_bias_pairs, json_schema_input_type=dict[str, float]),
    ] = ()
    allowed_token_ids: list[int] | None = None
    bad_words: list[BadWord] = Field(default_factory=list, max_length=MAX_BAD_WORDS)
    min_tokens: int = 0
    stop: Annotated[
        list[str], BeforeValidator(_stop_list, json_schema_input_type=str | list[str])
    ] = Field(default_factory=list)
    stop_token_ids: list[int] = Field(default_factory=list)
    include_stop_str_in_output: bool = False
    prompt_logprobs: int | None = Field(default=None, ge=0, le=MAX_LOGPROBS)
    ignore_eos: bool = False
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: str | None = None
    timeout: float | None = Field(default=None, gt=0, le=MAX_TIMEOUT_S)


class ChatCompletionRequest(GenerationRequest, TemplateFields):
    """Body of POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1, max_length=MAX_MESSAGES)
    max_completion_tokens: int | None = None
    tools: ToolSpecs = Field(default_factory=list)
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool = True
    logprobs: bool = False
    top_logprobs: int | None = Field(default=None, ge=0, le=MAX_LOGPROBS)


class CompletionRequest(GenerationRequest):
    """Body of POST /v1/completions."""

    prompt: Annotated[
        list[str | list[int]],
        PlainValidator(
            _prompt_list, json_schema_input_type=str | list[int] | list[str | list[int]]
        ),
    ]
    logprobs: int | None = Field(default=None, ge=0, le=MAX_COMPLETION_LOGPROBS)
    echo: bool = False


class TokenizeRequest(TemplateFields):
    """Body of POST /tokenize: a raw prompt, or a conversation in the model's chat format."""

    model: str | None = None
    prompt: str | None = None
    messages: list[Message] | None = Field(default=None, min_length=1, max_length=MAX_MESSAGES)


def rendering(fields: TemplateFields, messages: list[Message]) -> Rendering:
    """Return how to write `messages`, of which there is at least one.

    Raises:
        InvalidRequestError: The fields contradict each other or the last message.
    """
    last = messages[-1]
    return rendering_of(fields, last.role, calls=bool(last.tool_calls))


class DetokenizeRequest(StrictModel):
    """Body of POST /detokenize."""

    model: str | None = None
    tokens: list[int]
