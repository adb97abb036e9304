"""One request as it is to be sent and the answer as it came: what verdicts are made from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NOT_JSON = object()
"""What `parsed` returns for text that is not JSON; null is JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to send.

    Attributes:
        body: Sent as JSON, unless `raw` is set.
        raw: Sent as it is, as application/json.
        padding_bytes: Spaces sent after the body, so that a large one need not be kept.
        headers: Beside the key and the content type.
        wrong_key: Bring a key that cannot be right instead of the endpoint's.
        leave_after: Close the connection after so many events; None: read all.
    """

    method: str = "POST"
    path: str
    body: Mapping[str, Any] | None = None
    raw: bytes | None = None
    padding_bytes: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    wrong_key: bool = False
    leave_after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request and what came back.

    Attributes:
        status: HTTP status; 0 when no answer began.
        headers: The answer's, names in lower case.
        text: The answer's body unless it is an event stream.
        events: Data of each server-sent event, in order.
        failure: What went wrong on the wire, as a sentence; empty: the answer ended as it should.
        is_reused: The request went over a connection used before.
    """

    request: Request
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    events: tuple[str, ...] = ()
    failure: str = ""
    is_reused: bool = False

    @property
    def is_stream(self) -> bool:
        """Whether the answer says that it is an event stream."""
        return self.headers.get("content-type", "").startswith("text/event-stream")


def parsed(text: str) -> Any:
    """Return the JSON in `text`, or NOT_JSON; NaN and Infinity are not JSON."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return NOT_JSON


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
