"""What a trusted gateway says of a request: whose it is, its caps, and how long it may take.

Read only on a connection that holds the gateway's key. There a malformed value is the gateway's
fault and answered with 400, since serving without the cap it stands for would be worse.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pagelet_engine.server.auth import Caller, as_tenant
from pagelet_engine.server.errors import ErrorReply

TENANT_HEADER = b"x-pagelet-tenant"
DEADLINE_HEADER = b"x-pagelet-deadline-ms"
USAGE_HEADER = "x-pagelet-usage"
"""With the value 1, from anybody: a stream says before `[DONE]`, in a comment, what it used."""

_MAX_TOKENS = 2**31 - 1
_MAX_PRIORITY = 1000
_MAX_DEADLINE_S = 24 * 3600.0
_WEIGHTS = (0.001, 1000.0)


def told_by_gateway(caller: Caller, headers: Mapping[bytes, bytes]) -> Caller | ErrorReply:
    """Return the caller the gateway speaks for, or the refusal of a malformed header.

    Args:
        caller: Who holds the connection; anybody but a gateway is returned as it is.
        headers: By lower-case name.
    """
    if not caller.is_gateway:
        return caller
    tenant = headers.get(TENANT_HEADER)
    told = as_tenant(caller, None if tenant is None else tenant.decode("utf-8", "replace"))
    if tenant is not None and told is caller:
        # Served as the gateway itself, all misnamed tenants would share one prefix cache.
        return _malformed(TENANT_HEADER, "1 to 64 letters, digits, or any of . _ : -")
    given: dict[str, Any] = {}
    for name, (field, read, rule) in _FIELDS.items():
        if name not in headers:
            continue
        value = read(headers[name])
        if value is None:
            return _malformed(name, rule)
        given[field] = value
    return replace(told, **given)


def deadline_of(caller: Caller, headers: Mapping[bytes, bytes]) -> float | ErrorReply | None:
    """Return the seconds the gateway gives a request, or the refusal of a malformed header.

    Args:
        caller: Who holds the connection; anybody but a gateway sets no deadline.
        headers: By lower-case name.
    """
    raw = headers.get(DEADLINE_HEADER)
    if raw is None or not caller.is_gateway:
        return None
    if not re.fullmatch(rb"\d{1,12}", raw):
        return _malformed(DEADLINE_HEADER, "milliseconds, 1 to 12 digits")
    return min(int(raw) / 1000, _MAX_DEADLINE_S)


def _malformed(name: bytes, rule: str) -> ErrorReply:
    return ErrorReply(400, f"{name.decode()} must be {rule}.", "invalid_gateway_header")


def _weight(raw: bytes) -> float | None:
    if not re.fullmatch(rb"\d{1,4}(\.\d{1,9})?", raw):
        return None
    value = float(raw)
    return value if math.isfinite(value) and _WEIGHTS[0] <= value <= _WEIGHTS[1] else None


def _priority(raw: bytes) -> int | None:
    value = int(raw) if re.fullmatch(rb"-?\d{1,4}", raw) else None
    return value if value is not None and abs(value) <= _MAX_PRIORITY else None


def _tokens(raw: bytes) -> int | None:
    value = int(raw) if re.fullmatch(rb"\d{1,10}", raw) else 0
    return value if 1 <= value <= _MAX_TOKENS else None


_Reader = Callable[[bytes], float | int | None]
_FIELDS: Mapping[bytes, tuple[str, _Reader, str]] = {
    b"x-pagelet-weight": ("weight", _weight, "a number from 0.001 to 1000"),
    b"x-pagelet-priority": ("priority", _priority, "an integer from -1000 to 1000"),
    b"x-pagelet-max-prompt-tokens": ("max_prompt_tokens", _tokens, "an integer above 0"),
    b"x-pagelet-max-output-tokens": ("max_output_tokens", _tokens, "an integer above 0"),
}
