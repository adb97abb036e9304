"""What the API process and the template worker say to each other, as framed bytes.

A request is JSON, since texts in it may hold lone surrogates (`text.tokenizer` marks control tokens
with them), which msgpack cannot carry. An answer is a status byte and a text.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pagelet_engine.errors import InvalidRequestError, ProtocolError
from pagelet_engine.framing import HEADER_BYTES
from pagelet_engine.messages import MAX_FRAME_BYTES
from pagelet_engine.text.chat_template import ChatTemplate, Rendering

_TEXT, _REFUSAL = b"\x01", b"\x00"


def framed(payload: bytes) -> bytes:
    """Return one whole frame.

    Raises:
        InvalidRequestError: It would exceed MAX_FRAME_BYTES.
    """
    if len(payload) > MAX_FRAME_BYTES:
        raise InvalidRequestError("The messages are too large to be rendered.", param="messages")
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload


def encode_template(template: ChatTemplate) -> bytes:
    """Return the first frame: the template that all others are about."""
    return framed(json.dumps([template.source, template.tokens]).encode())


def decode_template(payload: bytes) -> ChatTemplate:
    """Return the template in the first frame's payload."""
    source, tokens = json.loads(payload)
    return ChatTemplate(source, **tokens)


@dataclass(frozen=True, slots=True)
class Conversation:
    """What `ChatTemplate.render` takes."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]]
    rendering: Rendering
    max_chars: int

    def render(self, template: ChatTemplate) -> str:
        """Return its text.

        Raises:
            InvalidRequestError: The template refuses it.
        """
        return template.render(
            self.messages, tools=self.tools, rendering=self.rendering, max_chars=self.max_chars
        )


def encode_conversation(conversation: Conversation) -> bytes:
    """Return the frame that asks to render.

    Raises:
        InvalidRequestError: It is too large.
    """
    # PERF: asdict would copy every message.
    fields = {
        "messages": conversation.messages,
        "tools": conversation.tools,
        "rendering": asdict(conversation.rendering),
        "max_chars": conversation.max_chars,
    }
    return framed(json.dumps(fields).encode())


def render(template: ChatTemplate, payload: bytes) -> bytes:
    """Return the frame that answers a conversation's payload."""
    fields = json.loads(payload)
    conversation = Conversation(**fields | {"rendering": Rendering(**fields["rendering"])})
    try:
        text = conversation.render(template)
        return framed(_TEXT + text.encode("utf-8", "surrogatepass"))
    except InvalidRequestError as error:
        return framed(_REFUSAL + json.dumps([str(error), error.param]).encode())


def decode_answer(payload: bytes) -> str:
    """Return the rendered text.

    Raises:
        InvalidRequestError: The template refused the conversation.
        ProtocolError: The bytes are no answer.
    """
    status, rest = payload[:1], payload[1:]
    if status == _TEXT:
        return rest.decode("utf-8", "surrogatepass")
    if status != _REFUSAL:
        raise ProtocolError(f"A template worker's answer begins with {status!r}.")
    message, param = json.loads(rest)
    raise InvalidRequestError(message, param=param)
