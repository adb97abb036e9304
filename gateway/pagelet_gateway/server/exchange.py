"""One HTTP request and its answer, over ASGI: what may be read and sent, in which order."""

import asyncio
import contextlib
import re
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from pagelet_gateway.errors import (
    BodyTimeoutError,
    BodyTooLargeError,
    RefusalError,
    UnavailableError,
    UnsupportedEncodingError,
)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

LINGER_S = 2.0
LINGER_BODIES = 4
"""How long, and for how many times the cap, a body that is too large is read and dropped."""

# A client's id is echoed into headers and logs, so only harmless ones are taken over.
_SAFE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete."""


class Exchange:
    """A request being answered.

    Attributes:
        path: Of the URL, not decoded.
        headers: Request headers by lower-case name; of repeated ones the last.
        request_id: The client's, if harmless, else a new one.
        is_started: Whether the status line is sent; from then on errors cannot have a status.
        status: Of the answer; 0 until it is sent.
        facts: What whoever served it knows of it at its end, for the journal.
        is_complete: Whether the last byte is sent.
        extra_headers: Added to the answer, whatever it is.
        num_sends: Parts of the body whose sending began.
        is_sending: Whether one waits for the client to make room.
        closes: Whether answers ask the client to close the connection (while draining).
    """

    def __init__(self, scope: Message, receive: Receive, send: Send, *, closes: bool) -> None:
        self.method: str = scope["method"]
        # As it came: %2f is no slash to the proxies in front, whose rules would not have seen one.
        raw_path: bytes | None = scope.get("raw_path")
        self.path: str = scope["path"] if raw_path is None else raw_path.decode("latin-1")
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        given = self.headers.get(b"x-request-id", b"")
        harmless = _SAFE_ID.fullmatch(given)
        self.request_id = given if harmless else uuid.uuid4().hex.encode()
        self.is_started = False
        self.status = 0
        self.facts: dict[str, Any] = {}
        self.is_complete = False
        self.extra_headers: Headers = []
        self.closes = closes
        self.num_sends = 0
        self.is_sending = False
        self._receive = receive
        self._send = send
        self._abort: Callable[[], None] | None = scope.get("state", {}).get("abort_connection")

    async def read_body(
        self, *, max_bytes: int, timeout_s: float, take: Callable[[int], bool] = lambda _: True
    ) -> bytes:
        """Read the whole request body.

        Args:
            max_bytes: Largest size.
            timeout_s: Longest time.
            take: Is told the size of each part; False refuses it.

        Raises:
            UnavailableError: `take` did.
            BodyTooLargeError: It is or claims to be larger; the rest is not read.
            BodyTimeoutError: It did not arrive in time.
            UnsupportedEncodingError: It is compressed.
            ClientGoneError: The client left.
        """
        if self.headers.get(b"content-encoding", b"identity") != b"identity":
            raise UnsupportedEncodingError(
                "The body has a Content-Encoding; send it uncompressed.", param="content-encoding"
            )
        claimed = self.headers.get(b"content-length", b"0")
        if claimed.isdigit() and int(claimed) > max_bytes:
            raise await self._too_large(max_bytes)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._read_all(max_bytes, take)
        except TimeoutError:
            self.closes = True
            raise BodyTimeoutError(
                f"The body did not arrive within {timeout_s:g} s; send it without pauses."
            ) from None

    async def _read_all(self, max_bytes: int, take: Callable[[int], bool]) -> bytes:
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > max_bytes:
                raise await self._too_large(max_bytes)
            if not take(len(parts[-1])):
                self.closes = True
                raise UnavailableError(
                    "The gateway holds as many request bodies as it can; try again.",
                    code="body_memory_full",
                    retry_after_s=1,
                )
            more = message.get("more_body", False)
        return b"".join(parts)

    async def _too_large(self, max_bytes: int) -> BodyTooLargeError:
        # The unread rest of the body would be taken for the next request.
        self.closes = True
        if b"expect" not in self.headers:
            await self._discard(LINGER_BODIES * max_bytes)
        return BodyTooLargeError(f"The body is larger than {max_bytes} bytes; send a smaller one.")

    async def drop_body(self, *, max_bytes: int) -> None:
        """Pass over the body of a request that is refused whatever it says."""
        is_whole = b"expect" not in self.headers and await self._discard(max_bytes)
        self.closes = self.closes or not is_whole

    async def _discard(self, num_bytes: int) -> bool:
        """Read on for a while: closing on a client that still sends would reset its
        connection, and it would never see the answer. Returns whether that was all of it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while num_bytes > 0:
                    message = await self._receive()
                    num_bytes -= len(message.get("body", b""))
                    if not message.get("more_body", False):
                        return True
        return False

    async def client_gone(self) -> None:
        """Return when the client has closed the connection (or the answer is complete)."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def start(self, status: int, headers: Headers) -> None:
        """Send status and headers; the request id is added."""
        own = [(b"x-request-id", self.request_id), *self.extra_headers]
        if self.closes:
            own.append((b"connection", b"close"))
        self.is_started = True
        self.status = status
        await self._send(
            {"type": "http.response.start", "status": status, "headers": headers + own}
        )

    async def send(self, chunk: bytes) -> None:
        """Send a part of the body; waits while the client reads slowly."""
        self.num_sends += 1
        self.is_sending = True
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        self.is_sending = False

    def abort(self) -> None:
        """Drop the connection: closing politely would wait for a client that does not read."""
        if self._abort is not None:
            self._abort()

    async def finish(self, chunk: bytes = b"") -> None:
        """Send the last part of the body."""
        self.is_complete = True
        await self._send({"type": "http.response.body", "body": chunk, "more_body": False})

    async def reply(
        self, body: bytes, *, status: int = 200, content_type: bytes, headers: Headers | None = None
    ) -> None:
        """Send a whole answer."""
        length = str(len(body)).encode()
        await self.start(
            status,
            [(b"content-type", content_type), (b"content-length", length), *(headers or [])],
        )
        await self.finish(body)

    async def refuse(self, error: RefusalError, headers: Headers | None = None) -> None:
        """Send an error as OpenAI's error object."""
        extra = list(headers or [])
        if error.retry_after_s is not None:
            extra.append((b"retry-after", str(error.retry_after_s).encode()))
            extra.append((b"x-should-retry", b"true"))
        if error.status == 401:
            extra.append((b"www-authenticate", b"Bearer"))
        await self.reply(
            error_object(error),
            status=error.status,
            content_type=b"application/json",
            headers=extra,
        )


def error_object(error: RefusalError) -> bytes:
    """OpenAI's error object as JSON."""
    fields = {
        "message": str(error),
        "type": error.kind,
        "param": error.param,
        "code": error.code,
    }
    return msgspec.json.encode({"error": fields})
