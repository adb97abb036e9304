"""Puts the routes, the error table and the layers around them into one ASGI application."""

import structlog
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp

from pagelet_engine.errors import EngineError, GenerationError
from pagelet_engine.server import generation_routes, info_routes
from pagelet_engine.server.access import Access, Guard, route_of
from pagelet_engine.server.auth import KeyRing
from pagelet_engine.server.edge import Edge
from pagelet_engine.server.errors import INTERNAL_ERROR, reply_for
from pagelet_engine.server.service import Service
from pagelet_engine.server.tracing import Spans, Traced

_CLIENT_CLOSED = 499  # nginx's number; nobody receives it
_log = structlog.get_logger(__name__)


def build_app(
    service: Service,
    keys: KeyRing,
    serves: frozenset[Access],
    local_only: bool = False,
    spans: Spans | None = None,
) -> ASGIApp:
    """Return the application that serves `service` to those in `keys`.

    Args:
        service: What is served.
        keys: Who may call.
        serves: Which kinds of routes exist here.
        local_only: Refuse requests that address this machine by a foreign name.
        spans: Where traces of requests go; None traces none.
    """
    routes: ASGIApp = build_routes(service)
    if spans is not None:
        routes = Traced(routes, spans, service.model_name)
    guarded = Guard(routes, keys, service.metrics, serves, local_only=local_only)
    return Edge(guarded)


def build_routes(service: Service) -> FastAPI:
    """Return all routes, unguarded."""
    app = FastAPI(title="Pagelet engine", openapi_url=None, redirect_slashes=False)
    app.state.service = service
    app.include_router(generation_routes.router)
    app.include_router(info_routes.router)
    app.add_exception_handler(EngineError, _answer_error)
    app.add_exception_handler(HTTPException, _answer_error)
    app.add_exception_handler(ClientDisconnect, _answer_nobody)
    app.add_exception_handler(Exception, _answer_bug)
    return app


async def _answer_error(request: Request, error: Exception) -> Response:
    reply = reply_for(error)
    service: Service = request.app.state.service
    if request.method == "POST" and not isinstance(error, GenerationError):
        service.metrics.count_rejected(reply.code)
    log = _log.error if reply.status == 500 else _log.info
    log(
        "refused",
        request_id=request.state.request_id,
        route=route_of(request.url.path),
        status=reply.status,
        code=reply.code,
        # The name of an unknown parameter is the client's text.
        param=None if reply.code == "unknown_parameter" else reply.param,
    )
    return reply.response()


async def _answer_bug(request: Request, error: Exception) -> Response:
    # Without it the framework would answer in its own words; the edge logs the error.
    return INTERNAL_ERROR.response()


async def _answer_nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=_CLIENT_CLOSED)
