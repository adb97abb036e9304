"""How a conversation is written for the model: what a request may tell the chat template.

A variable can steer a template as far as its authors let it (`enable_thinking`) and no further: the
names are those the template reads, never the conversation, the tools or the tokens themselves.
Sources: Hugging Face's chat template arguments of these names, and vLLM's request fields.
"""

import json
from typing import Annotated, Any

from pydantic import AfterValidator, StringConstraints
from pydantic_core import PydanticCustomError

from pagelet_engine.constraints.spec import check_depth
from pagelet_engine.errors import InvalidRequestError
from pagelet_engine.server.strict_model import StrictModel
from pagelet_engine.text.chat_template import RESERVED, Rendering

MAX_VARIABLES = 32
MAX_VARIABLES_BYTES = 64 * 1024
"""Values of all of them together, as JSON."""

VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


def _bounded(variables: dict[str, Any]) -> dict[str, Any]:
    if len(variables) > MAX_VARIABLES:
        raise PydanticCustomError(
            "too_long", "at most {most} variables are allowed", {"most": MAX_VARIABLES}
        )
    reserved = sorted(RESERVED & variables.keys())
    if reserved:
        raise PydanticCustomError(
            "reserved", "{name} has a field of its own or is the model's", {"name": reserved[0]}
        )
    check_depth(variables, param="chat_template_kwargs")
    if len(json.dumps(variables)) > MAX_VARIABLES_BYTES:
        raise PydanticCustomError(
            "too_long", "at most {most} bytes are allowed", {"most": MAX_VARIABLES_BYTES}
        )
    return variables


TemplateVariables = Annotated[dict[VariableName, Any], AfterValidator(_bounded)]


class TemplateFields(StrictModel):
    """The fields that say how a conversation is written."""

    add_generation_prompt: bool | None = None
    continue_final_message: bool = False
    chat_template_kwargs: TemplateVariables | None = None


def rendering_of(fields: TemplateFields, last_role: str, *, calls: bool) -> Rendering:
    """Return how to write a conversation.

    Args:
        fields: Of the request.
        last_role: Who wrote the last message.
        calls: Whether that message calls tools.

    Raises:
        InvalidRequestError: The fields contradict each other or the last message.
    """
    if fields.continue_final_message:
        if fields.add_generation_prompt:
            raise InvalidRequestError(
                "continue_final_message leaves the last message open and add_generation_prompt "
                "opens another one; set one of them.",
                param="continue_final_message",
            )
        if last_role != "assistant" or calls:
            raise InvalidRequestError(
                "continue_final_message needs a last message from the assistant, without "
                "tool_calls, for the model to write on.",
                param="continue_final_message",
            )
    opens = not fields.continue_final_message and fields.add_generation_prompt is not False
    return Rendering(opens, fields.continue_final_message, fields.chat_template_kwargs or {})
