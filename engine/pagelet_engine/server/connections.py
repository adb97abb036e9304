"""Limits that hold before there is a request: connections, their silence, the size of a head.

uvicorn's own parser accepts heads of any size, sent as slowly as the client likes, on any number
of connections; each of these would let one client use the memory or the descriptors of all.
"""

import asyncio
import resource
from http import HTTPStatus
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pagelet_engine.server.errors import ErrorReply
from pagelet_engine.server.request_id import request_id_of

MAX_HEAD_BYTES = 32 * 1024
"""Request line and headers together; gateways stay far below."""
MAX_HEADERS = 128
HEAD_TIMEOUT_S = 30.0
"""For a new connection to send its first head, and for a begun head to be complete."""
BODY_CREDIT = 16
"""Bytes of framing that each byte of a body may bring: a chunk of one byte has five."""
MAX_CONNECTIONS = 4096
_SPARE_DESCRIPTORS = 64

HEAD_TOO_LARGE = ErrorReply(
    431,
    f"Headers may have {MAX_HEAD_BYTES} bytes and {MAX_HEADERS} fields in all; these have more.",
    "headers_too_large",
)
_NOT_HTTP = ErrorReply(
    400,
    "This is no HTTP request that can be read in one way only: send each header once per line, and "
    "the body's length either as one Content-Length or in chunks.",
    "invalid_http",
)
_TOO_SLOW = ErrorReply(
    408, f"The request's head did not arrive within {HEAD_TIMEOUT_S:.0f} s.", "request_timeout"
)
_NO_PLACE = ErrorReply(
    503,
    "Every connection this server can hold is in use.",
    "service_unavailable",
    headers={"retry-after": "1", "x-should-retry": "true"},
)

_log = structlog.get_logger(__name__)


class BoundedProtocol(HttpToolsProtocol):
    """One connection, within limits; when there are too many, an idle one has to leave."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._num_head_bytes = 0
        """Bytes received that are no body: head, trailers, the framing of chunks."""
        self._in_head = True
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or refuse it if all places are taken by requests."""
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > max_connections() and not self._evict_one():
            _log.warning("connection_refused", open=len(self.connections))
            self._refuse(_NO_PLACE)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; a head or trailers without end are refused before they fill the memory."""
        self._num_head_bytes += len(data)
        if self._in_head and self._patience is None:
            self._await_head()
        super().data_received(data)
        if self._num_head_bytes > MAX_HEAD_BYTES:
            self._refuse(HEAD_TOO_LARGE)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP; in the middle of an answer nothing can be said."""
        self._refuse(_NOT_HTTP)

    def on_message_begin(self) -> None:
        """Let the application cut this connection: a full one cannot be closed politely."""
        super().on_message_begin()
        self.scope["state"]["abort_connection"] = self.transport.abort

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer is dropped, as it would pass for a header nobody has checked.

        Source: RFC 9110, section 6.5.1.
        """
        if self._in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Count off what is body, which has limits of its own."""
        self._num_head_bytes = max(0, self._num_head_bytes - BODY_CREDIT * len(body))
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """Count anew: what follows is the body and what frames it."""
        self._in_head = False
        self._num_head_bytes = 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Count the next request's head."""
        self._in_head = True
        self._num_head_bytes = 0
        super().on_message_complete()

    @property
    def is_idle(self) -> bool:
        """Whether no request of this connection is being answered."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def _owes_an_answer(self) -> bool:
        """Whether the next bytes on the wire belong to a request before what is refused."""
        if self.is_idle:
            return False
        # What comes behind a complete request is another one, and so is `cycle` itself if it waits
        # in the pipeline for an earlier one.
        return self._in_head or bool(self.pipeline) or self.cycle.response_started

    def _evict_one(self) -> bool:
        for other in self.connections:
            if other is not self and isinstance(other, BoundedProtocol) and other.is_idle:
                self.connections.discard(other)  # closing takes a moment; do not choose it twice
                other.transport.close()
                return True
        return False

    def _await_head(self) -> None:
        self._patience = self.loop.call_later(HEAD_TIMEOUT_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        if not self.is_idle:
            self._await_head()  # What comes early, such as an empty line, costs no stream its end.
        elif self._num_head_bytes:
            self._refuse(_TOO_SLOW)
        else:
            self.transport.close()

    def _refuse(self, reply: ErrorReply) -> None:
        self._stop_waiting()
        if self._owes_an_answer:
            self.transport.abort()  # A refusal would be taken for that answer, or a part of it.
        elif not self.transport.is_closing():
            self.transport.write(_on_the_wire(reply, request_id_of(self.headers or ())))
            self.transport.close()


def _on_the_wire(reply: ErrorReply, request_id: str) -> bytes:
    """Return a whole response, of the kind that `edge` gives to what is HTTP."""
    body = reply.body()
    headers = reply.headers | {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        "x-request-id": request_id,
    }
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    status = f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}\r\n"
    return (status + "".join(lines) + "\r\n").encode() + body


def max_connections() -> int:
    """Return how many connections may be open: fewer where descriptors are scarce."""
    soft_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(MAX_CONNECTIONS, soft_limit - _SPARE_DESCRIPTORS))


def is_head_too_large(headers: list[tuple[bytes, bytes]], path: bytes) -> bool:
    """Return whether a complete head exceeds what this server reads."""
    num_bytes = len(path) + sum(len(name) + len(value) for name, value in headers)
    return num_bytes > MAX_HEAD_BYTES or len(headers) > MAX_HEADERS
