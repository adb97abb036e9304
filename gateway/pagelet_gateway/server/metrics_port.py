"""Metrics and the status page on a port of their own: they name every model, and metrics every
tenant, which clients need not see."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from urllib.parse import parse_qs

import structlog
import uvicorn

from pagelet_gateway.core.router import Router
from pagelet_gateway.errors import UnknownRouteError
from pagelet_gateway.metrics import CONTENT_TYPE, Metrics
from pagelet_gateway.server.exchange import Exchange, Message, Receive, Send
from pagelet_gateway.server.listener import bind, url_of
from pagelet_gateway.server.status_assets import POLICY
from pagelet_gateway.server.status_page import page
from pagelet_gateway.server.status_view import StatusReader

log = structlog.get_logger("pagelet.gateway")

HTML = b"text/html; charset=utf-8"

PAGE_HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]

MAX_MODELS = 50
"""On one page; more are found by name."""

MAX_QUERY_BYTES = 1000

CLOSE_WITHIN_S = 2
"""Longest wait for a scrape under way when the gateway ends."""


@contextlib.asynccontextmanager
async def metrics_port(
    host: str, port: int | None, router: Router, metrics: Metrics
) -> AsyncIterator[None]:
    """Serve GET /metrics and the status page at `port` inside the block; None serves nothing.

    Raises:
        ConfigError: The port cannot be had.
    """
    if port is None:
        yield
        return
    listener = bind(host, port)
    reader = StatusReader(router, metrics)
    server = _Server(_App(metrics, reader))
    reading = asyncio.create_task(reader.run())
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    log.info("metrics listen", url=url_of(listener))
    try:
        yield
    finally:
        reading.cancel()
        server.should_exit = True
        await serving


class _App:
    """Two paths."""

    def __init__(self, metrics: Metrics, reader: StatusReader) -> None:
        self._metrics = metrics
        self._reader = reader

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send, closes=False)
        if (exchange.method, exchange.path) == ("GET", "/metrics"):
            await exchange.reply(self._metrics.render(), content_type=CONTENT_TYPE)
        elif (exchange.method, exchange.path) == ("GET", "/"):
            view = self._reader.view(_wanted(scope["query_string"]), limit=MAX_MODELS)
            # PERF: fifty models take 1.5 ms, which streams should not wait for.
            html = await asyncio.to_thread(page, view, time.time())
            await exchange.reply(html, content_type=HTML, headers=PAGE_HEADERS)
        else:
            await exchange.refuse(
                UnknownRouteError("This port serves GET / (status) and GET /metrics only.")
            )


def _wanted(query: bytes) -> str:
    return parse_qs(query[:MAX_QUERY_BYTES].decode("latin-1")).get("model", [""])[0].strip()


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling."""

    def __init__(self, app: _App) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=CLOSE_WITHIN_S,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the gateway."""
        yield
