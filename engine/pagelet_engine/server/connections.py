"""Limits that hold before there is a request: connections, their silence, the size of a head.

uvicorn's own parser accepts heads of any size, sent as slowly as the client likes, on any number
of connections; each of these would let one client use the memory or the descriptors of all.
"""

import asyncio
import resource
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 32 * 1024
"""Request line and headers together; gateways stay far below."""
MAX_HEADERS = 128
HEAD_TIMEOUT_S = 30.0
"""For a new connection to send its first head, and for a begun head to be complete."""
BODY_CREDIT = 16
"""Bytes of framing that each byte of a body may bring: a chunk of one byte has five."""
MAX_CONNECTIONS = 4096
_SPARE_DESCRIPTORS = 64

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
            self._refuse(b"503 Service Unavailable", b"retry-after: 1\r\n")

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
            self._refuse(b"431 Request Header Fields Too Large")

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP; in the middle of an answer nothing can be said."""
        self._refuse(b"400 Bad Request")

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
    def _has_begun_to_answer(self) -> bool:
        # With pipelined requests `cycle` is the last of them, and an earlier one is answered.
        return not self.is_idle and (bool(self.pipeline) or self.cycle.response_started)

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
            self._refuse(b"408 Request Timeout")
        else:
            self.transport.close()

    def _refuse(self, status: bytes, headers: bytes = b"") -> None:
        self._stop_waiting()
        if self._has_begun_to_answer:
            self.transport.abort()  # A status line would get into the answer being written.
        elif not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 " + status + b"\r\n" + headers + b"content-length: 0\r\n"
                b"connection: close\r\n\r\n"
            )
            self.transport.close()


def max_connections() -> int:
    """Return how many connections may be open: fewer where descriptors are scarce."""
    soft_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(MAX_CONNECTIONS, soft_limit - _SPARE_DESCRIPTORS))


def is_head_too_large(headers: list[tuple[bytes, bytes]], path: bytes) -> bool:
    """Return whether a complete head exceeds what this server reads."""
    num_bytes = len(path) + sum(len(name) + len(value) for name, value in headers)
    return num_bytes > MAX_HEAD_BYTES or len(headers) > MAX_HEADERS
