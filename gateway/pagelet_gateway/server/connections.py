"""Limits that hold before there is a request: connections, their silence, the size of a head.

uvicorn's parser takes heads of any size, sent as slowly as the client likes, on any number of
connections; each of these would let one client use the memory or the descriptors of all. What
could be read in two ways, here and by an engine or by a proxy in front, is refused: smuggling
lives on such differences (RFC 9112, sections 5.1, 6.3 and 11.2).
"""

import asyncio
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pagelet_gateway.server.descriptors import max_connections

log = structlog.get_logger("pagelet.gateway")

MAX_HEAD_BYTES = 32 * 1024
"""Request line and headers together; what common proxies send stays far below."""
MAX_HEADERS = 128
HEAD_TIMEOUT_S = 15.0
"""For a new connection to send its first head, and for a begun head to be complete."""
MAX_FRAMING_SHARE = 16
"""Bytes of framing that each byte of a body may bring: a chunk of one byte has five."""

_ONCE = (b"host", b"content-length", b"transfer-encoding", b"content-type", b"authorization")
"""Headers that two readers may choose from differently when they occur twice."""


class BoundedProtocol(HttpToolsProtocol):
    """One client's connection, within limits; when there are too many, an idle one leaves, else
    the one whose request has been arriving for longest."""

    def __init__(self, *args: Any, head_timeout_s: float = HEAD_TIMEOUT_S, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timeout_s = head_timeout_s
        self._is_refused = False
        """Whether nothing that still arrives may become a request."""
        self._num_unread = 0
        """Bytes received that are no body: head, trailers, the framing of chunks."""
        self._in_head = True
        self._patience: asyncio.TimerHandle | None = None
        self._body_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or refuse it if all places are taken by requests."""
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > max_connections() and not self._evict_one():
            log.warning("connection refused", open=len(self.connections))
            self._refuse(b"503 Service Unavailable", b"retry-after: 1\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; a head or trailers without end are refused before they fill the memory."""
        if self._is_refused:
            return
        self._num_unread += len(data)
        if self._in_head and self._patience is None:
            self._await_head()
        super().data_received(data)
        if self._num_unread > MAX_HEAD_BYTES:
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

    def on_headers_complete(self) -> None:
        """Count anew: what follows is the body and what frames it."""
        self._in_head = False
        self._num_unread = 0
        self._body_since = self.loop.time()
        self._stop_waiting()
        if self._is_refused:
            return
        if reason := ambiguity(self.headers, self.parser.get_http_version()):
            log.info("request refused", reason=reason)
            self._refuse(b"400 Bad Request")
        elif is_head_too_large(self.headers, self.url):
            self._refuse(b"431 Request Header Fields Too Large")
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count off what is body, which has limits of its own."""
        self._num_unread = max(0, self._num_unread - MAX_FRAMING_SHARE * len(body))
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Count the next request's head."""
        self._in_head = True
        self._num_unread = 0
        if not self._is_refused:
            super().on_message_complete()

    @property
    def is_idle(self) -> bool:
        """Whether no request of this connection is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _evict_one(self) -> bool:
        others = [
            other
            for other in self.connections
            if other is not self and isinstance(other, BoundedProtocol)
        ]
        idle = next((other for other in others if other.is_idle), None)
        # Bodies may take a minute: held back by enough clients, they would shut everybody out.
        slow = (other for other in others if not other._in_head)
        leaves = idle or min(slow, key=lambda other: other._body_since, default=None)
        if leaves is None:
            return False
        self.connections.discard(leaves)  # closing takes a moment; do not choose it twice
        leaves.transport.close() if leaves is idle else leaves.transport.abort()
        return True

    def _await_head(self) -> None:
        self._patience = self.loop.call_later(self._head_timeout_s, self._give_up)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        if not self.is_idle:
            self._await_head()  # What comes early, such as an empty line, costs no stream its end.
        elif self._num_unread:
            self._refuse(b"408 Request Timeout")
        else:
            self.transport.close()

    def _refuse(self, status: bytes, headers: bytes = b"") -> None:
        self._is_refused = True
        self._stop_waiting()
        if not self.is_idle:
            self.transport.abort()
        elif not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 " + status + b"\r\n" + headers + b"content-length: 0\r\n"
                b"connection: close\r\n\r\n"
            )
            self.transport.close()


def ambiguity(headers: list[tuple[bytes, bytes]], version: str) -> str | None:
    """Say what two readers of a head might understand differently; None if nothing.

    Args:
        headers: With lower-case names, in order.
        version: Of HTTP, such as "1.1".
    """
    names = [name for name, _ in headers]
    for name in _ONCE:
        if names.count(name) > 1:
            return f"{name.decode()} occurs twice"
    if version not in ("1.0", "1.1"):
        return "an unknown version"
    if version == "1.1" and b"host" not in names:
        return "no host"
    if b"upgrade" in names:
        return "an upgrade to another protocol"
    return _framing(dict(headers), version)


def _framing(found: dict[bytes, bytes], version: str) -> str | None:
    """What is unclear about where the body ends."""
    coding, length = found.get(b"transfer-encoding"), found.get(b"content-length")
    if length is not None and not length.isdigit():
        return "a content-length that is no number"
    if coding is None:
        return None
    if length is not None:
        return "content-length beside transfer-encoding"
    if version == "1.0":
        return "transfer-encoding in HTTP/1.0"
    return None if coding.lower() == b"chunked" else "a transfer-encoding other than chunked"


def is_head_too_large(headers: list[tuple[bytes, bytes]], path: bytes) -> bool:
    """Return whether a complete head exceeds what this server reads."""
    num_bytes = len(path) + sum(len(name) + len(value) for name, value in headers)
    return num_bytes > MAX_HEAD_BYTES or len(headers) > MAX_HEADERS
