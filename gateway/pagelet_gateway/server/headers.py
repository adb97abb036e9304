"""Which headers cross the gateway.

To the engine only an allow-list: a client must not be able to set what engines trust (deadline,
tenant) nor to leak its credentials to them. To the client everything but what belongs to one
connection or is the gateway's to say. Source: RFC 9110, section 7.6.1.
"""

from collections.abc import Iterable, Mapping

from pagelet_gateway.core.caps import tighter
from pagelet_gateway.core.route_table import ModelRoute
from pagelet_gateway.core.tenancy import Caller

REQUEST_ALLOWED = (b"accept", b"content-type", b"traceparent", b"tracestate", b"user-agent")

HOP_BY_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization",
        b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip

OWN = frozenset({b"date", b"server", b"x-request-id"})
"""Set by the gateway."""

OWN_PREFIXES = (b"x-pagelet-", b"x-ratelimit-")
"""Meant for the gateway, or said by it alone: a server behind it may have limits of its own,
which are not the client's."""


def to_engine(
    headers: Mapping[bytes, bytes], *, request_id: bytes, deadline_ms: int
) -> dict[str, str]:
    """Headers of an attempt, from the client's by lower-case name."""
    passed = {
        name.decode("ascii"): headers[name].decode("latin-1")
        for name in REQUEST_ALLOWED
        if name in headers
    }
    passed["x-request-id"] = request_id.decode("ascii")
    passed["x-pagelet-deadline-ms"] = str(deadline_ms)
    return passed


def trusted(caller: Caller, route: ModelRoute) -> dict[str, str]:
    """Headers that `route`'s engines act on, if they hold its gateway key.

    Args:
        caller: Who asks, and for which model.
        route: The model that is to answer; on the way to a fallback not the one asked for.
            Its engines keep to the tighter caps of both.
    """
    caps = tighter(caller.route.caps, route.caps)
    given = {
        "x-pagelet-gateway-key": route.gateway_key,
        "x-pagelet-tenant": caller.opaque_id,
        "x-pagelet-weight": caller.tenant and str(caller.tenant.weight),
        "x-pagelet-priority": caller.tenant and str(caller.tenant.priority),
        "x-pagelet-max-prompt-tokens": caps.max_prompt_tokens and str(caps.max_prompt_tokens),
        "x-pagelet-max-output-tokens": caps.max_output_tokens and str(caps.max_output_tokens),
        "x-pagelet-usage": "1",
    }
    return {name: value for name, value in given.items() if value}


def to_client(
    raw_headers: Iterable[tuple[bytes, bytes]], *, revision: str
) -> list[tuple[bytes, bytes]]:
    """Headers of the answer, from the engine's."""
    lowered = [(name.lower(), value) for name, value in raw_headers]
    named = {
        token.strip().lower()
        for name, value in lowered
        if name == b"connection"
        for token in value.split(b",")
    }
    dropped = HOP_BY_HOP | OWN | named
    # Both framings at once is how answers are smuggled; the parser has used the second.
    if any(name == b"transfer-encoding" for name, _ in lowered):
        dropped |= {b"content-length"}
    passed = [
        (name, value)
        for name, value in lowered
        if name not in dropped and not name.startswith(OWN_PREFIXES)
    ]
    passed.append((b"x-pagelet-revision", revision.encode("utf-8")))
    return passed
