"""Looks into a request body just far enough to route it; the bytes are passed on unchanged."""

from typing import Any

import msgspec

from pagelet_gateway.errors import RequestError


class Peek(msgspec.Struct, frozen=True):
    """The fields of a request that the gateway acts on; the engine judges all others."""

    model: Any = None
    user: Any = None


_decode = msgspec.json.Decoder(Peek).decode


def peek(body: bytes) -> tuple[str, str | None]:
    """Read `model` and `user`.

    Returns:
        The model's name, and the user if it is a non-empty string.

    Raises:
        RequestError: The body is not a JSON object, or names no model.
    """
    try:
        seen = _decode(body)
    except msgspec.ValidationError:
        raise RequestError("The body is not a JSON object.", code="invalid_json") from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise RequestError(f"The body is not valid JSON: {error}", code="invalid_json") from None
    if seen.model is None:
        raise RequestError(
            "The body names no model; set 'model' to one of GET /v1/models.",
            code="missing_required_parameter",
            param="model",
        )
    if not isinstance(seen.model, str):
        raise RequestError("'model' must be a string.", code="invalid_type", param="model")
    user = seen.user if isinstance(seen.user, str) and seen.user else None
    return seen.model, user
