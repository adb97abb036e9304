"""Connections to engines: one attempt, up to the first byte of its answer's body.

An attempt counts as begun only when the first part of the body is here. Until then the client
has seen nothing, so every failure can still become another attempt or an honest status.
"""

import asyncio
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace

import aiohttp
from yarl import URL

from pagelet_gateway.core.retry import Failure
from pagelet_gateway.server.error_event import may_open_with_error, opens_with_failure

READ_BUFFER_BYTES = 64 * 1024
"""Per stream; reading from the engine pauses at twice this while a client reads slowly."""

KEEP_ALIVE_S = 4.0
"""Below the five seconds after which engines close idle connections, so that a request rarely
meets one that is closing."""

LARGE_BODY_BYTES = 1024 * 1024
"""A body above this is written in pieces, so that one request does not hold up the others."""

STALE_WITHIN_S = 1.0
"""A connection that was closed while it was idle says so within a round trip."""

_SKIPPED = ("User-Agent", "Accept-Encoding")


FAILED_STATUSES = frozenset({500, 502, 503, 504})
"""What an engine says when it is at fault. Others (501, 505) would be the same anywhere."""


class AttemptError(Exception):
    """An attempt failed before the first byte of an answer that could be used.

    Attributes:
        failure: How.
        answer: What the engine said, still open, if it said so itself.
    """

    def __init__(self, failure: Failure, detail: str, answer: "Answer | None" = None) -> None:
        super().__init__(detail)
        self.failure = failure
        self.answer = answer


class BrokenStreamError(Exception):
    """The answer broke off after the first byte."""


class StalledError(Exception):
    """Nothing came from the engine for too long."""


@dataclass(slots=True, eq=False)
class Answer:
    """An engine's answer whose first part is here."""

    response: aiohttp.ClientResponse
    first: bytes
    """The first part of the body; empty only if the whole body is."""
    unwatch: Callable[[], None]
    """Stops watching for the connection's loss."""
    on_part: Callable[[], None] = lambda: None
    """Is told of each further part of the body."""
    num_reads: int = 0
    """Reads that began."""
    is_waiting: bool = False
    """Whether one waits for the engine."""
    was_stale: bool = False
    """Whether the request was sent twice, since an idle connection was just being closed."""

    @property
    def failure(self) -> Failure | None:
        """What an engine says about itself with this answer; None if it did its work."""
        status, headers = self.response.status, self.response.headers
        if status == 503 and "x-pagelet-draining" in headers:
            return Failure.DRAINING
        if status == 503 and "retry-after" in headers:
            return Failure.BUSY
        is_failed = status in FAILED_STATUSES or (
            status < 400 and self.is_event_stream and opens_with_failure(self.first)
        )
        return Failure.ERROR if is_failed else None

    @property
    def is_event_stream(self) -> bool:
        """Whether the body is server-sent events."""
        return self.response.headers.get("Content-Type", "").startswith("text/event-stream")

    async def read(self) -> bytes:
        """What has arrived since the last read, at least one byte; empty at the end.

        Raises:
            BrokenStreamError: The engine went away before the end.
            StalledError: `stall` was called.
        """
        self.num_reads += 1
        self.is_waiting = True
        try:
            part = await self.response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            # The reader keeps its error, whose traceback would keep the reader and this answer.
            error.__traceback__ = None
            raise BrokenStreamError(_detail(error)) from None
        finally:
            self.is_waiting = False
        self.on_part()
        return part

    def stall(self) -> None:
        """Make the reader stop waiting."""
        self.response.content.set_exception(StalledError())

    def close(self) -> None:
        """Give the connection back if the answer was read to its end, else close it."""
        self.unwatch()
        self.response.close() if not self.response.content.at_eof() else self.response.release()


def open_session(*, connect_timeout_s: float) -> aiohttp.ClientSession:
    """Make the one client session of a gateway; close it when done.

    No limit on connections: what bounds them is admission, and a hidden queue in the pool
    would count as the engine's latency.
    """
    reuse = aiohttp.TraceConfig()
    reuse.on_connection_reuseconn.append(_note_reuse)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
        trace_configs=[reuse],
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=READ_BUFFER_BYTES,
        skip_auto_headers=_SKIPPED,
    )


@dataclass(slots=True)
class _Sending:
    """One request on its way."""

    began_at: float
    is_reused: bool = False
    """Whether its connection had carried another one before."""

    def is_stale(self, error: Exception) -> bool:
        """Whether the engine closed an idle connection while the request was on its way.

        Then it has not read the request (RFC 9112, 9.3.1). An engine that crashed looks the
        same but for the time: what was begun is not given up that quickly.
        """
        is_cut = isinstance(error, aiohttp.ClientOSError) or (
            isinstance(error, aiohttp.ServerDisconnectedError)
            and isinstance(error.message, str)  # else what there was of a head
        )
        is_early = time.monotonic() - self.began_at < STALE_WITHIN_S
        return self.is_reused and is_cut and is_early


async def attempt(
    session: aiohttp.ClientSession, url: str, *, body: bytes, headers: Mapping[str, str]
) -> Answer:
    """Send a request and wait for the first part of the answer.

    A connection that turns out to be closed before any byte of an answer is replaced, once.

    Raises:
        AttemptError: There is none and the connection is closed; or there is one that says
            that the engine failed or has too much to do.
    """
    sending = _Sending(time.monotonic())
    try:
        try:
            response = await _post(session, url, body, headers, sending)
        except (aiohttp.ClientError, OSError) as error:
            if not sending.is_stale(error):
                raise
            response = await _post(session, url, body, headers, None)
            return await _first_part(response, was_stale=True)
    except (aiohttp.ClientError, OSError) as error:
        raise AttemptError(_failure(error), _detail(error)) from None
    return await _first_part(response, was_stale=False)


async def _post(
    session: aiohttp.ClientSession,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    sending: _Sending | None,
) -> aiohttp.ClientResponse:
    data = body if len(body) <= LARGE_BODY_BYTES else io.BytesIO(body)
    return await session.post(
        URL(url, encoded=True),
        data=data,
        headers=headers,
        allow_redirects=False,
        trace_request_ctx=sending,
    )


async def _first_part(response: aiohttp.ClientResponse, *, was_stale: bool) -> Answer:
    unwatch = _watch(response)
    try:
        first = part = await response.content.readany()
        while part and may_open_with_error(first):
            part = await response.content.readany()
            first += part
    except (aiohttp.ClientError, OSError) as error:
        unwatch()
        response.close()
        raise AttemptError(Failure.RESET, _detail(error)) from None
    except BaseException:
        unwatch()
        response.close()
        raise
    answer = Answer(response, first, unwatch, was_stale=was_stale)
    failure = answer.failure
    if failure is not None:
        how = "an error event" if response.status < 400 else response.status
        raise AttemptError(failure, f"the engine answered {how}", answer)
    return answer


async def _note_reuse(
    _: aiohttp.ClientSession,
    context: SimpleNamespace,
    __: aiohttp.TraceConnectionReuseconnParams,
) -> None:
    sending = context.trace_request_ctx
    if isinstance(sending, _Sending):
        sending.is_reused = True


def _watch(response: aiohttp.ClientResponse) -> Callable[[], None]:
    """Make a reader of `response` fail when its connection is lost.

    NOTE: aiohttp's parser forgets the reader when a body's chunking is malformed, and would
    leave it waiting until the request's time is up.
    """
    connection = response.connection  # None once the whole body is here
    protocol = connection.protocol if connection is not None else None
    closed = protocol.closed if protocol is not None else None  # an idle protocol is falsy
    if closed is None:
        return lambda: None

    def lost(_: "asyncio.Future[None]") -> None:
        content = response.content
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("connection lost in the body"))

    # One retriever stays with the connection: asyncio complains of errors nobody looked at.
    closed.remove_done_callback(_retrieve)
    closed.add_done_callback(_retrieve)
    closed.add_done_callback(lost)

    def unwatch() -> None:
        closed.remove_done_callback(lost)

    return unwatch


def _retrieve(closed: "asyncio.Future[None]") -> None:
    if not closed.cancelled():
        closed.exception()


def _failure(error: Exception) -> Failure:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return Failure.UNREACHABLE
    if isinstance(error, aiohttp.ClientConnectorError):
        return Failure.REFUSED
    if isinstance(error, aiohttp.ClientConnectionError | OSError):
        return Failure.RESET
    return Failure.PROTOCOL


def _detail(error: Exception) -> str:
    """What a log may say: other errors quote what came over the wire, which may be an answer."""
    is_quiet = isinstance(error, OSError) and not isinstance(error, aiohttp.ServerDisconnectedError)
    return str(error) if is_quiet and str(error) else type(error).__name__
