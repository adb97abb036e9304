"""Runs a gateway: start, serve, drain, exit.

SIGTERM or SIGINT: /readyz says 503 ── drain delay ──► new connections refused, open
requests go on ── last one ends ──► exit 0
               └─ drain timeout ──► the rest ends with error events, exit 1
a second signal: exit at once, 128 + its number
"""

import asyncio
import contextlib
import gc
import math
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import structlog
import uvicorn
import uvloop

from pagelet_gateway import logs
from pagelet_gateway.config import GatewayConfig
from pagelet_gateway.core.router import Router
from pagelet_gateway.live_table import LiveTable
from pagelet_gateway.metrics import Metrics
from pagelet_gateway.server.admission import Admission
from pagelet_gateway.server.app import App
from pagelet_gateway.server.attempts import Attempts
from pagelet_gateway.server.connections import BoundedProtocol
from pagelet_gateway.server.descriptors import raise_limit
from pagelet_gateway.server.journal import open_journal
from pagelet_gateway.server.listener import BACKLOG, bind, url_of
from pagelet_gateway.server.load_watch import LoadWatch
from pagelet_gateway.server.metrics_port import metrics_port
from pagelet_gateway.server.mirror import Mirror
from pagelet_gateway.server.proxy import Proxy
from pagelet_gateway.server.quota_opening import open_quotas
from pagelet_gateway.server.quotas import Quotas
from pagelet_gateway.server.sender import Sender
from pagelet_gateway.server.tenancy import Gatekeeper
from pagelet_gateway.server.upstream import open_session
from pagelet_gateway.sources.opening import open_source
from pagelet_gateway.tenant_metrics import TenantMetrics

log = structlog.get_logger("pagelet.gateway")

SIGNALS = (signal.SIGTERM, signal.SIGINT)

SAME_SIGNAL_S = 0.5
"""Ctrl-C reaches every process of a terminal, and a parent may pass it on as well: what comes
within this time is one wish, not two."""

KEEP_ALIVE_S = 75
"""Idle client connections are kept for as long as common load balancers keep theirs."""

CUT_GRACE_S = 10
"""After the drain timeout: time for the error events to be read."""


def run(config: GatewayConfig) -> int:
    """Serve until a signal ends it; returns the exit code.

    Raises:
        ConfigError: The address cannot be had.
    """
    logs.configure()
    listener = bind(config.host, config.port)
    _spare_pauses()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(config, listener, on_start=raise_limit))


def _spare_pauses() -> None:
    """Keep full garbage collections off the streams' way.

    PERF: one over what was imported stops every stream for 20 to 40 ms; frozen, it is not looked
    at again. Requests leave no garbage, so a collection only walks over what is alive, 2 to 3 ms
    for 10,000 objects on a busy core: the larger thresholds make it rare.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 10)


async def serve(
    config: GatewayConfig, listener: socket.socket, *, on_start: Callable[[], None] = lambda: None
) -> int:
    """Serve on `listener`, which this closes; returns the exit code.

    Args:
        config: What the user says.
        listener: Bound.
        on_start: Called once nothing can keep the gateway from serving any more.
    """
    metrics, router = Metrics(), Router(uuid.uuid4().hex)
    live_table = LiveTable(router, metrics)
    journal = open_journal(os.environ, access_log=config.access_log)
    tenant_metrics = TenantMetrics(metrics.registry)
    accounts = _accounts(config, tenant_metrics)
    connections = open_session(connect_timeout_s=config.connect_timeout_s)
    figures = metrics_port(config.metrics_host or config.host, config.metrics_port, router, metrics)
    async with connections as session, accounts as quotas, figures:
        gatekeeper = Gatekeeper(require_keys=config.require_keys)
        admission = Admission(quotas, tenant_metrics)
        sender = Sender(router, session)
        attempts = Attempts(config, router, live_table, sender, metrics)
        mirror = Mirror(router, quotas, session, metrics)
        proxy = Proxy(config, router, gatekeeper, admission, attempts, mirror, metrics)
        has_metrics = config.metrics_port is None
        app = App(router, gatekeeper, proxy, journal, metrics, serves_metrics=has_metrics)
        server = _Server(app, config)
        drain = Drain(config, app, proxy, server)
        source = await open_source(config, live_table.offer, metrics.registry)
        watching = asyncio.create_task(source.run())
        asking = asyncio.create_task(LoadWatch(router, metrics, session).run())
        on_start()
        log.info("gateway listens", url=url_of(listener), source=config.source)
        try:
            with drain.on_signals():
                await server.serve(sockets=[listener])
        finally:
            watching.cancel()
            asking.cancel()
            mirror.close()
    await journal.close()
    log.info("gateway ends", exit_code=drain.exit_code)
    return drain.exit_code


def _accounts(
    config: GatewayConfig, metrics: TenantMetrics
) -> contextlib.AbstractAsyncContextManager[Quotas]:
    return open_quotas(
        metrics,
        replicas=config.replicas or 1,
        service=config.replicas_service,
        store=config.quota_store,
        on_failure=config.quota_store_failure,
        timeout_s=config.quota_store_timeout_s,
    )


def _protocol(config: GatewayConfig) -> Any:
    """What makes a connection's protocol; uvicorn asks for a class and only calls it."""
    return partial(BoundedProtocol, head_timeout_s=config.head_timeout_s)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling."""

    def __init__(self, app: App, config: GatewayConfig) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_protocol(config),
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=math.ceil(config.drain_timeout_s) + CUT_GRACE_S,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `Drain`."""
        yield


class Drain:
    """Turns signals into an orderly end."""

    def __init__(self, config: GatewayConfig, app: App, proxy: Proxy, server: _Server) -> None:
        self.exit_code = 0
        self._config = config
        self._app = app
        self._proxy = proxy
        self._server = server
        self._first_at: float | None = None
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Handle SIGTERM and SIGINT inside the block."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)
            if self._task is not None:
                self._task.cancel()

    def _on_signal(self, number: int) -> None:
        now = time.monotonic()
        if self._first_at is None:
            self._first_at = now
            self._app.is_draining = True
            log.info("draining", in_flight=self._proxy.num_in_flight)
            self._task = asyncio.create_task(self._drain())
        elif now - self._first_at > SAME_SIGNAL_S:
            log.warning("second signal, exit at once", in_flight=self._proxy.num_in_flight)
            os._exit(128 + number)

    async def _drain(self) -> None:
        await asyncio.sleep(self._config.drain_delay_s)
        self._server.should_exit = True
        await asyncio.sleep(self._config.drain_timeout_s)
        log.warning("drain timeout", cut=self._proxy.num_in_flight)
        self.exit_code = 1
        self._proxy.cut_all("drain_timeout")
