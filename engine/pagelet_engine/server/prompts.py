"""From a request's messages or prompts to token ids, off the event loop and within bounds.

A long text takes a second to tokenize; streams in progress must not wait for it, so all of it
runs on threads of its own, and the chat template in a process of its own, which can be ended. A
text that cannot fit whatever its tokens is refused unread.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pagelet_engine.errors import ContextLengthError, InvalidRequestError
from pagelet_engine.server.protocol import Message
from pagelet_engine.templates.client import TemplateClient
from pagelet_engine.templates.wire import Conversation, encode_conversation
from pagelet_engine.text.chat_template import ChatTemplate, Rendering
from pagelet_engine.text.reasoning import Thinking
from pagelet_engine.text.tools.demand import Tool
from pagelet_engine.text.tools.prompt import as_objects, without_tools
from pagelet_engine.text.vocabulary import TextModel

_NUM_THREADS = 2
_TIMEOUT_S = 30.0

_USUAL = Rendering()

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A conversation as the model reads it."""

    token_ids: list[int]
    thinking: Thinking
    """Where the output begins."""


class PromptEncoder:
    """Renders and tokenizes for one model."""

    def __init__(
        self,
        text_model: TextModel,
        *,
        max_model_len: int,
        templates: TemplateClient | None = None,
        on_encoded: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """Prepare.

        Args:
            text_model: The model's tokenizer and chat template.
            max_model_len: Tokens its context holds.
            templates: Renders the chat template; None renders it on a thread, for templates of
                which is known that they end.
            on_encoded: Told how many seconds each prompt took, waits included.
        """
        self._on_encoded = on_encoded
        self._templates = templates
        self._text_model = text_model
        self._max_model_len = max_model_len
        self._max_chars = max_model_len * text_model.tokenizer.max_token_chars
        self._threads = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="tokenize")

    async def encode_chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        rendering: Rendering = _USUAL,
    ) -> ChatPrompt:
        """Return a conversation as `rendering` wants it; the model may call `tools`.

        Raises:
            InvalidRequestError: The model has no chat template, or it refuses the messages or does
                not know a variable.
            ContextLengthError: More characters than any prompt that fits.
        """
        if self._text_model.chat_template is None:
            raise InvalidRequestError(
                "This model has no chat template; use /v1/completions.", param="messages"
            )
        _check_variables(rendering, self._text_model.chat_template.variables)
        num_chars = sum(len(message.content) + len(message.thought) for message in messages)
        num_chars += sum(len(str(item)) for item in (*tools, *rendering.variables.values()))
        self._check_chars(num_chars, "messages")
        with self._timing():
            return await self._render_and_encode(messages, tools, rendering)

    async def encode_prompt(self, prompt: str) -> list[int]:
        """Return the ids of a raw prompt; it may hold control tokens, as it is all the caller's.

        Raises:
            ContextLengthError: More characters than any prompt that fits.
        """
        self._check_chars(len(prompt), "prompt")
        tokenizer = self._text_model.tokenizer
        with self._timing():
            return await self._off_loop(lambda: tokenizer.encode_prompt(prompt), "prompt")

    @contextlib.contextmanager
    def _timing(self) -> Iterator[None]:
        started = time.monotonic()
        yield
        self._on_encoded(time.monotonic() - started)

    async def decode(self, token_ids: list[int]) -> str:
        """Return the text of `token_ids`, control tokens included."""
        tokenizer = self._text_model.tokenizer
        return await self._off_loop(
            lambda: tokenizer.decode(token_ids, keep_control=True), "tokens"
        )

    async def _render_and_encode(
        self, messages: Sequence[Message], tools: Sequence[Tool], rendering: Rendering
    ) -> ChatPrompt:
        tokenizer, template = self._text_model.tokenizer, self._text_model.chat_template
        assert template is not None, "checked by encode_chat"
        templates = self._templates

        def conversation() -> Conversation:
            return self._conversation(template, messages, tools, rendering)

        if templates is None:
            text = await self._off_loop(lambda: conversation().render(template), "messages")
        else:
            frame = await self._off_loop(lambda: encode_conversation(conversation()), "messages")
            text = await templates.render(frame)
        continued = messages[-1].content if rendering.continue_final_message else None
        thinking = self._text_model.dialect.thinking_after(text, continued)
        token_ids = await self._off_loop(lambda: tokenizer.encode(text), "messages")
        return ChatPrompt(token_ids, thinking)

    def _conversation(
        self,
        template: ChatTemplate,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        rendering: Rendering,
    ) -> Conversation:
        """Return what the template is given, with nothing in it that reads as a control token."""
        tokenizer = self._text_model.tokenizer
        dumped = [message.as_template_reads() for message in messages]
        if not template.reads_tools:
            dumped, tools = without_tools(dumped, tools), ()
        shielded = _shielded(dumped, tokenizer.shield)
        shown = _shielded(as_objects(tools), tokenizer.shield)
        variables = _shielded(dict(rendering.variables), tokenizer.shield)
        # Twice: the template's own text, which may repeat the messages' roles, comes on top.
        most = 2 * self._max_chars
        return Conversation(shielded, shown, replace(rendering, variables=variables), most)

    def _check_chars(self, num_chars: int, param: str) -> None:
        if num_chars > self._max_chars:
            raise ContextLengthError(
                f"This model's context holds {self._max_model_len} tokens. {param} has {num_chars} "
                f"characters, which is more than {self._max_model_len} tokens can stand for.",
                param=param,
            )

    async def _off_loop(self, work: Callable[[], Result], param: str) -> Result:
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await future
        except TimeoutError:
            raise InvalidRequestError(
                f"{param} could not be tokenized within {_TIMEOUT_S:.0f} s.", param=param
            ) from None


def _check_variables(rendering: Rendering, known: frozenset[str]) -> None:
    unknown = sorted(rendering.variables.keys() - known)
    if unknown:
        takes = ", ".join(sorted(known)) or "none"
        raise InvalidRequestError(
            f"The model's chat template takes no {unknown[0]!r}; what it takes: {takes}.",
            param="chat_template_kwargs",
        )


def _shielded(value: Any, shield: Callable[[str], str]) -> Any:
    """Return `value` with every text in it shielded, keys included."""
    if isinstance(value, str):
        return shield(value)
    if isinstance(value, list):
        return [_shielded(item, shield) for item in value]
    if isinstance(value, dict):
        return {shield(key): _shielded(item, shield) for key, item in value.items()}
    return value
