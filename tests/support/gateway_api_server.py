"""A scripted API server on a real socket: lists, watches, and misbehaves as told."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from kubernetes.aio.client import Configuration

from pagelet_gateway.sources.kube_api import KubeApi, connect

Watch = Callable[[web.Request, web.StreamResponse], Awaitable[None]]


def item(name: str, version: int = 1, **fields: Any) -> dict[str, Any]:
    meta = {"namespace": "ns", "name": name, "resourceVersion": str(version)}
    return {"metadata": meta, **fields}


def event(kind: str, thing: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": thing}).encode() + b"\n"


def expired() -> bytes:
    status = {"kind": "Status", "code": 410, "message": "too old resource version"}
    return event("ERROR", status)


CLOSING = web.AppKey("closing", asyncio.Event)


async def idle(request: web.Request, _answer: web.StreamResponse) -> None:
    """A watch on which nothing happens."""
    await request.app[CLOSING].wait()


class ApiServer:
    """Lists `items`; the n-th watch is `watches[n]`, those after the last are idle."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.version = 1
        self.watches: list[Watch] = []
        self.failures: list[web.Response] = []
        """Answers that come instead of the next lists and Secrets."""
        self.secrets: dict[str, dict[str, str]] = {}
        self.lists = 0
        self.watched_from: list[str] = []
        self.looked_up: list[str] = []

    async def things(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") != "true":
            return self._list(request)
        self.watched_from.append(request.query["resourceVersion"])
        answer = web.StreamResponse()
        await answer.prepare(request)
        watch = self.watches.pop(0) if self.watches else idle
        await watch(request, answer)
        return answer

    def _list(self, request: web.Request) -> web.Response:
        self.lists += 1
        if self.failures:
            return self.failures.pop(0)
        start = int(request.query.get("continue", "0"))
        page = self.items[start : start + 2]
        more = {"continue": str(start + 2)} if start + 2 < len(self.items) else {}
        meta = {"resourceVersion": str(self.version), **more}
        return web.json_response({"metadata": meta, "items": page})

    async def secret(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.looked_up.append(name)
        if self.failures:
            return self.failures.pop(0)
        if name not in self.secrets:
            return web.json_response({"message": "not found"}, status=404)
        return web.json_response({"data": self.secrets[name]})


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[ApiServer, KubeApi]]:
    """A scripted server and a client of it."""
    server, app = ApiServer(), web.Application()
    app[CLOSING] = asyncio.Event()
    app.router.add_get("/api/v1/namespaces/{namespace}/things", server.things)
    app.router.add_get("/api/v1/namespaces/{namespace}/secrets/{name}", server.secret)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    try:
        async with connect(Configuration(host=f"http://127.0.0.1:{port}")) as api:
            yield server, api
    finally:
        app[CLOSING].set()
        await runner.cleanup()
