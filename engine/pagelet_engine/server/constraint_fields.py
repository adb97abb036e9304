"""`response_format` and `structured_outputs`: what a request may demand of its output's form.

Sources: https://platform.openai.com/docs/api-reference/chat/create (`response_format`), and vLLM's
`structured_outputs`, which replaced the `guided_*` fields.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from pagelet_engine.constraints import spec
from pagelet_engine.constraints.spec import Constraint
from pagelet_engine.errors import InvalidRequestError
from pagelet_engine.server.strict_model import StrictModel

REPLACED = {
    "guided_json": 'structured_outputs: {"json": ...}',
    "guided_regex": 'structured_outputs: {"regex": ...}',
    "guided_choice": 'structured_outputs: {"choice": [...]}',
    "guided_grammar": 'structured_outputs: {"grammar": ...}',
    "guided_json_object": 'response_format: {"type": "json_object"}',
    "guided_decoding_backend": "nothing; this server has one way to constrain output",
    "guided_whitespace_pattern": "nothing; blanks between JSON's parts are bounded here",
    "structural_tag": 'structured_outputs: {"grammar": ...}',
    "functions": "tools",
    "function_call": "tool_choice",
}
"""Fields of other servers and former days that would constrain the output, and what says so now.
Ignoring one would give output that the client takes for checked."""

SchemaName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class JsonSchemaFormat(StrictModel):
    """A named JSON schema; it is always enforced, whatever `strict` says."""

    name: SchemaName
    description: str | None = None
    schema_: dict[str, Any] | bool = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(StrictModel):
    """OpenAI's way to demand a form."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None


class StructuredOutputs(StrictModel):
    """The other demands; exactly one is to be set."""

    json_: dict[str, Any] | bool | str | None = Field(default=None, alias="json")
    json_object: bool | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None


def constraint_of(
    response_format: ResponseFormat | None, structured: StructuredOutputs | None
) -> tuple[Constraint, str] | None:
    """Return what is demanded and the field that does so, or None.

    Raises:
        InvalidRequestError: Two demands, an empty one, or one beyond the caps.
    """
    wanted = None if response_format is None else _of_format(response_format)
    if structured is None:
        return wanted
    if wanted is not None:
        raise InvalidRequestError(
            "response_format and structured_outputs both constrain the output; set one of them.",
            param="structured_outputs",
        )
    return _of_structured(structured)


def _of_format(form: ResponseFormat) -> tuple[Constraint, str] | None:
    param = "response_format.json_schema"
    if form.type == "json_schema":
        if form.json_schema is None:
            raise InvalidRequestError(f"{param} is missing.", param=param)
        param += ".schema"
        return spec.json_schema(form.json_schema.schema_, param=param), param
    if form.json_schema is not None:
        raise InvalidRequestError(f'{param} needs type "json_schema".', param=param)
    return (spec.any_json_object(), "response_format") if form.type == "json_object" else None


def _of_structured(asked: StructuredOutputs) -> tuple[Constraint, str]:
    names = sorted(asked.model_fields_set)
    if len(names) != 1 or asked.json_object is False:
        raise InvalidRequestError(
            "structured_outputs needs exactly one of json, json_object: true, regex, choice and "
            "grammar.",
            param="structured_outputs",
        )
    param = f"structured_outputs.{names[0].rstrip('_')}"
    if asked.regex is not None:
        return spec.regex(asked.regex, param=param), param
    if asked.choice is not None:
        return spec.choice(asked.choice, param=param), param
    if asked.grammar is not None:
        return spec.grammar(asked.grammar, param=param), param
    if asked.json_object:
        return spec.any_json_object(), param
    return spec.json_schema(asked.json_, param=param), param
