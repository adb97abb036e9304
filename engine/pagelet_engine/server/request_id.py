"""A request's name in headers and logs; never a key, since clients choose it."""

import re
import uuid
from collections.abc import Iterable

_SAFE_ID = re.compile(r"[A-Za-z0-9._:\-]{1,64}\Z")


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the first x-request-id that is short and harmless, or a new one.

    Args:
        headers: By lower-case name, as far as they have come.
    """
    for name, value in headers:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            if _SAFE_ID.match(given):
                return given
    return f"req_{uuid.uuid4().hex}"
