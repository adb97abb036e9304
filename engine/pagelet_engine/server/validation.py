"""From a JSON object to a checked request, or to an error that names the field at fault."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pagelet_engine.errors import InvalidRequestError, UnknownModelError
from pagelet_engine.server.constraint_fields import REPLACED
from pagelet_engine.server.errors import BadRequestError
from pagelet_engine.server.protocol import MAX_MESSAGES, NO_EFFECT, OFF_VALUES

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


def check_token_ids(token_ids: list[int], vocab_size: int, param: str) -> None:
    """Refuse ids that do not exist.

    Raises:
        InvalidRequestError: One lies outside [0, vocab_size).
    """
    if not all(0 <= token_id < vocab_size for token_id in token_ids):
        raise InvalidRequestError(
            f"{param} holds token ids outside [0, {vocab_size}).", param=param
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
