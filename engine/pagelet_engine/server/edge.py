"""The outermost layer: every response has an X-Request-Id, every bug becomes a 500 object.

A client's own id is repeated if it is short and harmless.
"""

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pagelet_engine.server.access import route_of
from pagelet_engine.server.connections import HEAD_TOO_LARGE, is_head_too_large
from pagelet_engine.server.errors import INTERNAL_ERROR
from pagelet_engine.server.request_id import request_id_of

_log = structlog.get_logger(__name__)


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(scope["headers"])
        scope.setdefault("state", {})["request_id"] = request_id
        started = complete = False

        async def send_with_id(message: Message) -> None:
            nonlocal started, complete
            if message["type"] == "http.response.body":
                complete = not message.get("more_body", False)
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        if is_head_too_large(scope["headers"], scope.get("raw_path", b"")):
            await HEAD_TOO_LARGE.response()(scope, receive, send_with_id)
            return
        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            # The one place where a bug ends: logged whole, told in one fixed sentence.
            _log.exception("bug", request_id=request_id, route=route_of(scope["path"]))
            if complete:
                return
            if started:
                raise  # the server closes the connection, so nobody takes the reply for complete
            await INTERNAL_ERROR.response()(scope, receive, send_with_id)
