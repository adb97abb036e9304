"""Renders a conversation with the model's own chat template.

Only the template that came with the model is used, never one from a request. It runs in Jinja's
immutable sandbox, and its output is bounded while it is being produced. The sandbox does not
bound time; callers render off the event loop and stop waiting.
"""

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import jinja2
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pagelet_engine.errors import InvalidRequestError, ModelLoadError

# What evaluating an expression on odd values raises, beside Jinja's own errors.
_EXPRESSION_ERRORS = (
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RecursionError,
)

_CONTINUED_HERE = "\udbff"
"""Marks the end of a message to be continued. A lone surrogate, so no message can hold it."""
RESERVED = frozenset({"messages", "tools", "add_generation_prompt", "bos_token", "eos_token"})
"""Names that always mean the same to a template."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """How a conversation is to be written."""

    add_generation_prompt: bool = True
    """Whether to open the assistant's next message."""
    continue_final_message: bool = False
    """Whether to leave the last message open, for the model to write on; excludes the above."""
    variables: Mapping[str, Any] = field(default_factory=dict)
    """What else the template is told; names out of `ChatTemplate.variables`."""


_USUAL = Rendering()


class ChatTemplate:
    """A compiled template; `render` may be called from any thread."""

    def __init__(self, source: str, *, bos_token: str = "", eos_token: str = "") -> None:
        """Compile `source`.

        Args:
            source: Jinja, as in tokenizer_config.json or the GGUF field tokenizer.chat_template.
            bos_token: Text the template knows as `bos_token`.
            eos_token: Text the template knows as `eos_token`.

        Raises:
            ModelLoadError: It is not valid Jinja.
        """
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = _strftime_now
        environment.filters["tojson"] = _tojson
        try:
            self._template = environment.from_string(source)
            unbound = meta.find_undeclared_variables(environment.parse(source))
        except jinja2.TemplateError as error:
            raise ModelLoadError(f"The model's chat template is not valid: {error}.") from error
        self.reads_tools = "tools" in unbound
        """Whether the template tells the model of tools by itself."""
        self.variables = frozenset(unbound - RESERVED - environment.globals.keys())
        """Names that the template reads and a request may set."""
        self.source = source
        """As it came with the model."""
        self.tokens = {"bos_token": bos_token, "eos_token": eos_token}
        """What the template knows under these names."""

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        rendering: Rendering = _USUAL,
        max_chars: int,
    ) -> str:
        """Return the prompt that asks the model for the next assistant message.

        Args:
            messages: Each with `role` and `content`.
            tools: Functions the model may call; only for templates that read them.
            rendering: How to end, and what else to tell the template.
            max_chars: Longest output allowed, characters.

        Raises:
            InvalidRequestError: The template refuses these messages, fails on them, or its
                output is too long; concerns this request only.
        """
        copies = [dict(message) for message in messages]
        if rendering.continue_final_message:
            copies[-1]["content"] += _CONTINUED_HERE
        given = {
            **rendering.variables,
            **self.tokens,
            "messages": copies,
            "tools": list(tools) or None,
            "add_generation_prompt": rendering.add_generation_prompt,
        }
        text = self._generate(given, max_chars)
        return _up_to_mark(text) if rendering.continue_final_message else text

    def _generate(self, given: dict[str, Any], max_chars: int) -> str:
        parts: list[str] = []
        num_chars = 0
        try:
            for part in self._template.generate(given):
                num_chars += len(part)
                if num_chars > max_chars:
                    raise InvalidRequestError(
                        f"The messages are longer than {max_chars} characters in the model's chat "
                        f"format, more than its context can hold.",
                        param="messages",
                    )
                parts.append(part)
        except jinja2.TemplateError as error:
            raise InvalidRequestError(
                f"The model's chat template refuses these messages: {error.message}",
                param="messages",
            ) from error
        except _EXPRESSION_ERRORS as error:
            raise InvalidRequestError(
                f"The model's chat template fails on these messages ({type(error).__name__}).",
                param="messages",
            ) from error
        return "".join(parts)


def _up_to_mark(text: str) -> str:
    start, mark, _ = text.rpartition(_CONTINUED_HERE)
    if not mark:
        raise InvalidRequestError(
            "The model's chat template does not write the last message as it is, so it cannot be "
            "continued.",
            param="continue_final_message",
        )
    return start.replace(_CONTINUED_HERE, "")


def _raise_exception(message: object) -> NoReturn:
    raise jinja2.TemplateError(str(message))


def _strftime_now(pattern: str) -> str:
    return datetime.datetime.now().strftime(pattern)


def _tojson(value: Any, indent: int | None = None) -> str:
    # Jinja's own filter escapes for HTML, which would change the model's input.
    return json.dumps(value, ensure_ascii=False, indent=indent)
