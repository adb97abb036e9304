"""The API of the engine as an OpenAPI document, made from the classes that check the requests.

What is declared is what is answered: every status a route can give on purpose, with the schema of
its body. 500 is not among them, since it means a bug.

Source: https://spec.openapis.org/oas/v3.1.0
"""

from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from pagelet_engine.server.access import POLICIES, Access
from pagelet_engine.server.errors import CODES
from pagelet_engine.server.protocol import (
    ChatCompletionRequest,
    CompletionRequest,
    DetokenizeRequest,
    TokenizeRequest,
)

Json = dict[str, Any]

_REFS = "#/components/schemas/{model}"
_BODIES: dict[str, type[BaseModel]] = {
    "/v1/chat/completions": ChatCompletionRequest,
    "/v1/completions": CompletionRequest,
    "/tokenize": TokenizeRequest,
    "/detokenize": DetokenizeRequest,
}
_ANSWERS = {
    "/v1/chat/completions": "ChatCompletion",
    "/v1/completions": "Completion",
    "/v1/models": "ModelList",
    "/v1/models/{name:path}": "Model",
    "/tokenize": "TokenizeAnswer",
    "/detokenize": "DetokenizeAnswer",
}
_STREAMS = frozenset({"/v1/chat/completions", "/v1/completions"})
_SUMMARIES = {
    "/v1/chat/completions": "Generate the next message of a conversation",
    "/v1/completions": "Continue raw prompts",
    "/v1/models": "The model served here",
    "/v1/models/{name:path}": "One model",
    "/tokenize": "Text or conversation to token ids",
    "/detokenize": "Token ids to text",
    "/livez": "Whether the engine process makes progress",
    "/readyz": "Whether requests are taken",
    "/startupz": "How far start-up is",
    "/version": "Pagelet's version",
    "/metrics": "All series in Prometheus' text format",
    "/openapi.json": "This document",
}
_ERRORS = {
    400: "The request cannot be read, contradicts itself or does not fit the context.",
    401: "No key, or an unknown one.",
    403: "The key may not use this URL.",
    404: "No such URL or model.",
    405: "The URL does not accept this method.",
    408: "The body took too long to arrive.",
    413: "The body is too large.",
    415: "The body is not JSON by its header.",
    421: "A server without keys was addressed by a foreign name.",
    429: "Too much work is waiting; see Retry-After.",
    431: "The headers are too large.",
    503: "The server starts, drains or lost its engine process; see Retry-After.",
    504: "The request's deadline passed.",
}
_ONLY_WITH_BODY = frozenset({400, 408, 413, 415, 429, 504})


@cache
def document() -> Json:
    """Return the document; it is the same for every model."""
    models = [(model, "validation") for model in _BODIES.values()]
    _, schemas = models_json_schema(models, ref_template=_REFS)  # type: ignore[arg-type]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Pagelet engine", "version": version("pagelet")},
        "paths": {_templated(path): {_method(path): _operation(path)} for path in POLICIES},
        "components": {
            "schemas": schemas["$defs"] | _answers(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _templated(path: str) -> str:
    return path.replace(":path", "")


def _method(path: str) -> str:
    return "post" if path in _BODIES else "get"


def _operation(path: str) -> Json:
    operation: Json = {
        "summary": _SUMMARIES[path],
        "security": [] if POLICIES[path] is Access.PUBLIC else [{"key": []}],
        "responses": {"200": _success(path)} | _failures(path),
    }
    if path in _BODIES:
        schema = {"$ref": _REFS.format(model=_BODIES[path].__name__)}
        operation["requestBody"] = {"required": True, "content": _as_json(schema)}
    if "{name" in path:
        operation["parameters"] = [
            {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
        ]
    return operation


def _success(path: str) -> Json:
    if path == "/metrics":
        return {"description": "Series.", "content": {"text/plain": {"schema": _TEXT}}}
    content = _as_json({"$ref": _REFS.format(model=_ANSWERS.get(path, "Status"))})
    if path in _STREAMS:
        content |= {"text/event-stream": {"schema": _TEXT}}
    return {"description": "Done.", "content": content}


def _failures(path: str) -> Json:
    if POLICIES[path] is Access.PUBLIC:
        probe = {"description": "Not now.", "content": _as_json({"$ref": _of("Status")})}
        return {str(status): _failure(status) for status in (405, 421, 431)} | {"503": probe}
    return {
        str(status): _failure(status)
        for status in _ERRORS
        if path in _BODIES or status not in _ONLY_WITH_BODY
    }


def _failure(status: int) -> Json:
    return {"description": _ERRORS[status], "content": _as_json({"$ref": _of("Error")})}


def _as_json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _of(name: str) -> str:
    return _REFS.format(model=name)


_TEXT: Json = {"type": "string"}
_COUNT: Json = {"type": "integer", "minimum": 0}


def _answers() -> dict[str, Json]:
    head = {"id": _TEXT, "created": _COUNT, "model": _TEXT, "system_fingerprint": _TEXT}
    usage = {"$ref": _of("Usage")}
    error = {"message": _TEXT, "type": _TEXT, "param": {"type": ["string", "null"]}}
    return {
        "ChatCompletion": _object(head, choices=_choices("message"), usage=usage),
        "Completion": _object(head, choices=_choices("text"), usage=usage),
        "Usage": _object(prompt_tokens=_COUNT, completion_tokens=_COUNT, total_tokens=_COUNT),
        "Model": _object(id=_TEXT, object={"const": "model"}),
        "ModelList": _object(data={"type": "array", "items": {"$ref": _of("Model")}}),
        "TokenizeAnswer": _object(count=_COUNT, tokens={"type": "array", "items": _COUNT}),
        "DetokenizeAnswer": _object(prompt=_TEXT),
        "Status": {"type": "object"},
        "Error": _object(error=_object(error, code={"enum": sorted(CODES)})),
    }


def _choices(content: str) -> Json:
    reasons = {"enum": ["stop", "length", "tool_calls", "content_filter"]}
    choice = {"index": _COUNT, content: {}, "finish_reason": reasons}
    return {"type": "array", "items": _object(choice), "minItems": 1}


def _object(fields: Json | None = None, **more: Json) -> Json:
    properties = (fields or {}) | more
    return {"type": "object", "properties": properties, "required": sorted(properties)}
