"""Requests to, and answers from, a fallback: the body names another model, and an API elsewhere
learns nothing of this gateway but the request itself.
"""

from collections.abc import Iterable, Mapping

import msgspec

from pagelet_gateway.core.fallback import Link
from pagelet_gateway.core.route_table import Fallback
from pagelet_gateway.errors import RequestError

HOPS = "x-pagelet-hops"
"""How many gateways a request has passed: the one header of ours that leaves, for the gateway
that an API elsewhere may be."""

_ANSWER_ALLOWED = frozenset(
    {b"content-type", b"content-length", b"content-encoding", b"cache-control", b"retry-after"}
)
_PREFIX = "/v1"

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def with_model(
    body: bytes, name: str, *, output_limit: int | None = None, is_chat: bool = False
) -> bytes:
    """Return a JSON object with `model` set to `name`; every other value keeps its bytes.

    Args:
        body: A JSON object.
        name: The model that is to answer.
        output_limit: Output tokens to ask for, where the other side knows no caps; None leaves
            what is asked for.
        is_chat: Whether the newer name of that field is known there.

    Raises:
        RequestError: The body is no JSON object; a fault that only shows here, since an engine
            would have judged it.
    """
    try:
        fields = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"The body is not valid JSON: {error}", code="invalid_json") from None
    fields["model"] = msgspec.Raw(msgspec.json.encode(name))
    if output_limit is not None:
        names = ("max_completion_tokens", "max_tokens")
        given = [name for name in names if name in fields]  # of both, nobody knows which counts
        for name in given or [names[0] if is_chat else names[1]]:
            fields[name] = msgspec.Raw(msgspec.json.encode(output_limit))
    return msgspec.json.encode(fields)


def url_of(api: Fallback, path: str) -> str | None:
    """Return where `path` lies at an API elsewhere; None if OpenAI's API has no such path.

    Args:
        api: Its `url` stands for our `/v1`.
        path: As the client asked for it.
    """
    if not path.startswith(f"{_PREFIX}/"):
        return None
    return f"{api.url}{path.removeprefix(_PREFIX)}"


def headers_for(api: Fallback, headers: Mapping[bytes, bytes], *, num_hops: int) -> dict[str, str]:
    """Headers of a request to an API elsewhere: its own key, nothing that names our client."""
    passed = {"content-type": "application/json", "user-agent": "pagelet", HOPS: str(num_hops)}
    if b"accept" in headers:
        passed["accept"] = headers[b"accept"].decode("latin-1")
    if api.api_key is not None:
        passed["authorization"] = f"Bearer {api.api_key}"
    return passed


def answer_headers(raw_headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers of an answer from elsewhere that a client may see.

    An allow-list: account names, quotas and cookies of the other API are between it and us.
    """
    lowered = [(name.lower(), value) for name, value in raw_headers]
    allowed = _ANSWER_ALLOWED
    if any(name == b"transfer-encoding" for name, _ in lowered):
        allowed -= {b"content-length"}
    return [(name, value) for name, value in lowered if name in allowed]


def mark(link: Link) -> tuple[bytes, bytes]:
    """The header that tells a client who answered in place of the model it asked for."""
    name = "".join(char if char.isascii() and char.isprintable() else "?" for char in link.name)
    return b"x-pagelet-fallback", name.encode("ascii")
