"""The operator's own HTTP port: liveness, readiness, metrics.

Liveness proves processing, not that a port answers: somebody takes what is due from the queue,
and everything is listed anew from time to time. An API server that is away fails neither,
since a restart of the operator would not bring it back.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from aiohttp import web

from pagelet_operator.kube.loop import Controller
from pagelet_operator.kube.metrics import Metrics

STUCK_S = 120.0
"""Longest time a due resource may wait while no reconcile ends, seconds. A reconcile is a
handful of requests of at most 15 s each."""


def verdict(controller: Controller, now: float) -> str | None:
    """Return why the operator is stuck, or None while it works; `now` is monotonic."""
    waited_s = controller.queue.oldest_wait_s()
    idle_s = now - controller.progressed_at
    if waited_s > STUCK_S and idle_s > STUCK_S:
        return f"a resource has waited {waited_s:.0f} s; no reconcile ended for {idle_s:.0f} s"
    return None


@asynccontextmanager
async def serving(
    controller: Controller,
    metrics: Metrics,
    host: str,
    port: int,
    *,
    standing_by: Callable[[], bool] = lambda: False,
) -> AsyncIterator[int]:
    """Serve `/healthz`, `/readyz` and `/metrics`; yields the port, which matters for port 0.

    Who stands by for another operator is ready: to take over is all that is asked of it.

    Raises:
        OSError: The port is taken.
    """
    app = web.Application()
    app.router.add_get("/healthz", partial(_healthz, controller))
    app.router.add_get("/readyz", partial(_readyz, controller, standing_by))
    app.router.add_get("/metrics", partial(_metrics, metrics))
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def _healthz(controller: Controller, _: web.Request) -> web.Response:
    stuck = verdict(controller, time.monotonic())
    return web.Response(text=f"{stuck or 'ok'}\n", status=503 if stuck else 200)


async def _readyz(
    controller: Controller, standing_by: Callable[[], bool], _: web.Request
) -> web.Response:
    if standing_by():
        return web.Response(text="ok: stands by, another operator works\n")
    ready = controller.listed_at is not None
    text = "ok" if ready else "the resources have not been listed yet"
    return web.Response(text=f"{text}\n", status=200 if ready else 503)


async def _metrics(metrics: Metrics, _: web.Request) -> web.Response:
    return web.Response(body=metrics.exposition(), content_type="text/plain", charset="utf-8")
