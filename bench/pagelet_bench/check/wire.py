"""Sends one request of a probe and records what comes back; whatever happens is an exchange."""

import asyncio
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Self

import aiohttp

from pagelet_bench.core.check.exchange import Exchange, Request
from pagelet_bench.core.sse import SseError, SseParser

MAX_ANSWER_BYTES = 4 * 2**20
"""Most bytes read of one answer; probes ask for at most a few hundred tokens."""

_WRONG_KEY = "pagelet-check-a-key-that-cannot-be-right"
_BUSY = (429, 503)
_BUSY_RETRIES = 2
_MAX_RETRY_AFTER_S = 5.0
_DEFAULT_RETRY_AFTER_S = 1.0


@dataclass(slots=True)
class _Received:
    """What has come so far."""

    status: int = 0
    headers: Mapping[str, str] | None = None
    text: str = ""
    events: tuple[str, ...] = ()


class Wire:
    """One endpoint's connections; requests go one after the other.

    A context manager: leaving it closes the connections.
    """

    def __init__(self, base_url: str, api_key: str | None, *, timeout_s: float) -> None:
        """Prepare to talk to `base_url`, which has no `/v1`; each answer may take `timeout_s`."""
        self.base_url = base_url
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_note_reuse)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            trace_configs=[trace],
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, request: Request) -> Exchange:
        """Send a request; wait and try again where the endpoint says that it is busy."""
        exchange = await self._attempt(request)
        for _ in range(_BUSY_RETRIES):
            if exchange.status not in _BUSY:
                break
            await asyncio.sleep(_retry_after_s(exchange))
            exchange = await self._attempt(request)
        return self._without_key(exchange)

    async def _attempt(self, request: Request) -> Exchange:
        exchange = await self._once(request)
        if exchange.is_reused and exchange.failure and not exchange.status:
            # A server may close an idle connection just as we write to it; that proves nothing.
            exchange = await self._once(request)
        return exchange

    async def _once(self, request: Request) -> Exchange:
        assert self._session is not None, "the wire is not open"
        received, noted = _Received(), SimpleNamespace(is_reused=False)
        failure = ""
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._session.request(
                    request.method,
                    self.base_url + request.path,
                    data=_data(request),
                    headers=self._headers(request),
                    allow_redirects=False,
                    trace_request_ctx=noted,
                ) as response,
            ):
                received.status = response.status
                received.headers = {n.lower(): value for n, value in response.headers.items()}
                await _read(response, received, request.leave_after)
        except TimeoutError:
            failure = f"no complete answer within {self._timeout_s:g} s"
        except (SseError, UnicodeDecodeError) as error:
            failure = f"the answer cannot be read: {error}"
        except (aiohttp.ClientError, OSError) as error:
            begun = "broke in the middle of the answer" if received.status else "failed"
            failure = f"the connection {begun}: {error or type(error).__name__}"
        return Exchange(
            request=request,
            status=received.status,
            headers=received.headers or {},
            text=received.text,
            events=received.events,
            failure=failure,
            is_reused=noted.is_reused,
        )

    def _headers(self, request: Request) -> dict[str, str]:
        headers = dict(request.headers)
        if request.method == "POST":
            headers["Content-Type"] = "application/json"
        key = _WRONG_KEY if request.wrong_key else self._api_key
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        return headers

    def _without_key(self, exchange: Exchange) -> Exchange:
        """Take the key out of what a server sent back, so that no report shows it."""
        key = self._api_key
        if not key:
            return exchange
        return replace(
            exchange,
            text=exchange.text.replace(key, "***"),
            events=tuple(data.replace(key, "***") for data in exchange.events),
            headers={name: value.replace(key, "***") for name, value in exchange.headers.items()},
            failure=exchange.failure.replace(key, "***"),
        )


async def _note_reuse(_: object, context: Any, __: object) -> None:
    context.trace_request_ctx.is_reused = True


def _data(request: Request) -> io.BytesIO | None:
    """Return the body as a stream: written whole, a large one would hold up the event loop."""
    if request.raw is not None:
        return io.BytesIO(request.raw)
    if request.body is None:
        return None
    return io.BytesIO(json.dumps(request.body).encode() + b" " * request.padding_bytes)


async def _read(
    response: aiohttp.ClientResponse, received: _Received, leave_after: int | None
) -> None:
    if response.content_type == "text/event-stream":
        await _read_events(response, received, leave_after)
        return
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise SseError(f"it exceeds {MAX_ANSWER_BYTES} bytes.")
    received.text = body.decode()


async def _read_events(
    response: aiohttp.ClientResponse, received: _Received, leave_after: int | None
) -> None:
    parser = SseParser()
    num_bytes = 0
    async for chunk in response.content.iter_any():
        num_bytes += len(chunk)
        if num_bytes > MAX_ANSWER_BYTES:
            raise SseError(f"it exceeds {MAX_ANSWER_BYTES} bytes.")
        received.events += tuple(event.data.decode() for event in parser.feed(chunk))
        if leave_after is not None and len(received.events) >= leave_after:
            response.close()
            return


def _retry_after_s(exchange: Exchange) -> float:
    """Return how long a busy endpoint asks to wait, up to what a check can wait."""
    value = exchange.headers.get("retry-after", "")
    wanted = float(value) if value.isascii() and value.isdecimal() else _DEFAULT_RETRY_AFTER_S
    return min(wanted, _MAX_RETRY_AFTER_S)
