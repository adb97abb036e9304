"""Reads a request's JSON body: bounded by route, in time too, before anything is parsed."""

import asyncio
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

from pagelet_engine.server.errors import BadRequestError

MAX_CONTAINERS = 2**17
"""Opening brackets in a large body, those inside text included; code has one in 40 bytes."""
MAX_COMMAS = 2**21
"""Commas in a large body; a prompt of token ids has one for each."""

SMALL_BODY_BYTES = 1024 * 1024
"""Largest body of a route that generates nothing: a text of 250,000 tokens, where code and prose
have four bytes in one, or as many token ids."""
LARGE_BODY_ROUTES = frozenset({"/v1/chat/completions", "/v1/completions"})
"""Routes whose bodies may be as large as the server is configured for."""

_READ_TIMEOUT_S = 60.0
_INLINE_BYTES = 64 * 1024
_CONTAINERS = frozenset({dict, list})


def body_limit(path: str, max_bytes: int) -> int:
    """Return the largest body of the route at `path`, bytes, where no route may exceed `max_bytes`.

    A route that is new has the small limit until it is named above.
    """
    return max_bytes if path in LARGE_BODY_ROUTES else min(max_bytes, SMALL_BODY_BYTES)


async def read_json(request: Request, max_bytes: int) -> dict[str, Any]:
    """Return the body's JSON object.

    Args:
        request: Whose path decides how large its body may be.
        max_bytes: Largest body of any route.

    Raises:
        BadRequestError: 415 not JSON by its header, 413 too large (the rest is not read), 408 too
            slow, 400 no JSON object.
        ClientDisconnect: The client left before it was complete.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise BadRequestError(
            f"The content type is {media_type[:80] or 'absent'!r}; send 'application/json'.",
            code="unsupported_media_type",
            status=415,
        )
    body = await _read(request, body_limit(request.url.path, max_bytes))
    inline = len(body) <= _INLINE_BYTES
    try:
        parsed = _parse(body) if inline else await asyncio.to_thread(_parse_large, body)
    except orjson.JSONDecodeError as error:
        message = f"The body is not valid JSON: {error.msg} (line {error.lineno})."
        raise BadRequestError(message, code="invalid_json") from None
    if not isinstance(parsed, dict):
        raise BadRequestError("The body must be a JSON object.", code="invalid_json")
    return parsed


def _parse_large(body: bytes) -> object:
    # PERF: the parser lets no other thread run. 8 MiB of text take it 7 ms, of `[],` 600 ms, so
    # what would become too many objects is refused unparsed.
    num_containers = body.count(b"[") + body.count(b"{")
    if num_containers > MAX_CONTAINERS or body.count(b",") > MAX_COMMAS:
        raise BadRequestError(
            f"The body has more than {MAX_CONTAINERS} brackets or {MAX_COMMAS} commas.",
            code="request_too_large",
            status=413,
        )
    return _parse(body)


def _parse(body: bytes) -> object:
    """Return what `body` says; no object in it may name a key twice.

    Parsers differ on which of the two counts, so a gateway may have read the other.

    Raises:
        BadRequestError: One does.
        orjson.JSONDecodeError: It is no JSON.
    """
    parsed = orjson.loads(body)
    # PERF: a parser that would tell takes many times as long.
    if _num_keys_written(body) != _num_keys(parsed):
        raise BadRequestError("The body names a key twice in one object.", code="invalid_json")
    return parsed


def _num_keys_written(body: bytes) -> int:
    """Return how many keys a valid JSON document has, each as often as it is written."""
    # Without escapes every quote begins or ends a text; a key is a text with a colon behind it.
    parts = body.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
    return sum(part.lstrip()[:1] == b":" for part in parts[2::2])


def _num_keys(value: object) -> int:
    num_keys = 0
    left: list[Any] = [value] if type(value) in _CONTAINERS else []
    while left:
        inner = left.pop()
        if type(inner) is dict:
            num_keys += len(inner)
            inner = inner.values()
        # PERF: most lists of a large body are token ids and are passed over as a whole.
        if not _CONTAINERS.isdisjoint(map(type, inner)):
            left.extend(each for each in inner if type(each) in _CONTAINERS)
    return num_keys


async def _read(request: Request, max_bytes: int) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    chunks: list[bytes] = []
    num_bytes = 0
    try:
        async with asyncio.timeout(_READ_TIMEOUT_S):
            async for chunk in request.stream():
                num_bytes += len(chunk)
                if num_bytes > max_bytes:
                    raise _too_large(max_bytes)
                chunks.append(chunk)
    except TimeoutError:
        raise BadRequestError(
            f"The body did not arrive within {_READ_TIMEOUT_S:.0f} s.",
            code="request_timeout",
            status=408,
        ) from None
    return b"".join(chunks)


def _too_large(max_bytes: int) -> BadRequestError:
    return BadRequestError(
        f"The body is larger than {max_bytes} bytes, the limit of this URL.",
        code="request_too_large",
        status=413,
    )


__all__ = ["ClientDisconnect", "read_json"]
