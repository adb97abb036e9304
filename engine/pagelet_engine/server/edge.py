"""The outermost layer: every response has an X-Request-Id, every bug becomes a 500 object.

A client's own id is repeated if it is short and harmless; it names the request in headers and
logs and is never used as a key.
"""

import re
import uuid

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pagelet_engine.server.access import route_of
from pagelet_engine.server.connections import MAX_HEAD_BYTES, MAX_HEADERS, is_head_too_large
from pagelet_engine.server.errors import INTERNAL_ERROR, ErrorReply

_SAFE_ID = re.compile(r"[A-Za-z0-9._:\-]{1,64}\Z")
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
        request_id = _request_id(scope)
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
            await _HEAD_TOO_LARGE.response()(scope, receive, send_with_id)
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


_HEAD_TOO_LARGE = ErrorReply(
    431,
    f"Headers may have {MAX_HEAD_BYTES} bytes and {MAX_HEADERS} fields in all; these have more.",
    "headers_too_large",
)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            if _SAFE_ID.match(given):
                return str(given)
    return f"req_{uuid.uuid4().hex}"
