"""Error events of engines: `data: {"error": …}` in a stream, and who is to blame.

An engine that breaks after its status is out can only say so in the stream. Where that is the
first event, its client has seen nothing yet, and another engine may still answer.
"""

import re
from typing import Any

import msgspec

MAX_OPENING_BYTES = 64 * 1024
"""Most that is held back of a stream's opening; an error object is far smaller."""

_EVENT_END = re.compile(rb"\n\r?\n|\r\r")
_BLAMES_CLIENT = frozenset(
    {"invalid_request_error", "authentication_error", "permission_error", "rate_limit_error"}
)
"""`type` of an error object that says nothing against the engine."""


class _Event(msgspec.Struct):
    error: Any = None


_decode = msgspec.json.Decoder(_Event).decode


def is_deadline(said: Any) -> bool:
    """Whether an error object says that the request's time was up."""
    return isinstance(said, dict) and said.get("code") == "deadline_exceeded"


def blames_request(said: Any) -> bool:
    """Whether an error object says that the request is at fault, not the engine."""
    if not isinstance(said, dict):
        return False
    code = said.get("code")
    is_client_status = isinstance(code, int) and 400 <= code < 500
    return said.get("type") in _BLAMES_CLIENT or is_client_status


def opens_with_failure(part: bytes) -> bool:
    """Whether the first data event of a stream that opens with `part` says the engine failed."""
    payload = _first_payload(part)
    if payload is None:
        return False
    try:
        said = _decode(payload).error
    except (msgspec.DecodeError, ValueError, RecursionError):
        return False
    return said is not None and not is_deadline(said) and not blames_request(said)


def may_open_with_error(part: bytes) -> bool:
    """Whether more of a stream is needed to tell: what could be an error has not ended yet."""
    is_short = len(part) < MAX_OPENING_BYTES
    return is_short and b'"error"' in part and _first_payload(part) is None


def _first_payload(part: bytes) -> bytes | None:
    """The data of the first event that has any and has ended."""
    if b'"error"' not in part:  # PERF: nearly every answer; the rest would cost it microseconds
        return None
    start = 0
    for match in _EVENT_END.finditer(part):
        lines = part[start : match.end()].splitlines()
        data = [line[5:].removeprefix(b" ") for line in lines if line[:5] == b"data:"]
        if data:
            return b"\n".join(data)
        start = match.end()
    return None
