"""Metrics on a port of their own: they name every model and tenant, which clients need not see."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import structlog
import uvicorn

from pagelet_gateway.errors import UnknownRouteError
from pagelet_gateway.metrics import CONTENT_TYPE, Metrics
from pagelet_gateway.server.exchange import Exchange, Message, Receive, Send
from pagelet_gateway.server.listener import bind, url_of

log = structlog.get_logger("pagelet.gateway")

CLOSE_WITHIN_S = 2
"""Longest wait for a scrape under way when the gateway ends."""


@contextlib.asynccontextmanager
async def metrics_port(host: str, port: int | None, metrics: Metrics) -> AsyncIterator[None]:
    """Serve GET /metrics at `port` inside the block; None serves nothing.

    Raises:
        ConfigError: The port cannot be had.
    """
    if port is None:
        yield
        return
    listener = bind(host, port)
    server = _Server(_App(metrics))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    log.info("metrics listen", url=url_of(listener))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


class _App:
    """One path."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send, closes=False)
        if (exchange.method, exchange.path) == ("GET", "/metrics"):
            await exchange.reply(self._metrics.render(), content_type=CONTENT_TYPE)
        else:
            await exchange.refuse(UnknownRouteError("This port serves GET /metrics only."))


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
