"""Who may use which route. What is not named here does not exist for anybody.

The table is the policy: a route added elsewhere without a line here answers 404, and a test says
so. With no keys at all a server listens on loopback only; there the Host header must name this
machine, so that a web page cannot reach it through a name that it controls.
"""

import ipaddress
from enum import StrEnum

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from pagelet_engine.metrics import EngineMetrics
from pagelet_engine.server.auth import KeyRing
from pagelet_engine.server.errors import ErrorReply
from pagelet_engine.server.gateway_headers import deadline_of, told_by_gateway

GATEWAY_KEY_HEADER = b"x-pagelet-gateway-key"

_log = structlog.get_logger(__name__)


class Access(StrEnum):
    """What a route asks of its caller; the value is the scope a key must have."""

    PUBLIC = "public"
    """Nothing: probes, which tell nothing of the traffic."""
    API = "api"
    ADMIN = "admin"


POLICIES = {
    "/livez": Access.PUBLIC,
    "/readyz": Access.PUBLIC,
    "/startupz": Access.PUBLIC,
    "/v1/chat/completions": Access.API,
    "/v1/completions": Access.API,
    "/v1/models": Access.API,
    "/v1/models/{name:path}": Access.API,
    "/tokenize": Access.API,
    "/detokenize": Access.API,
    "/version": Access.API,
    "/openapi.json": Access.API,
    "/metrics": Access.ADMIN,
}
"""Every route of the server, as it is written there."""

_MODEL_PREFIX = "/v1/models/"


def route_of(path: str) -> str | None:
    """Return the route at `path` as POLICIES writes it, which can be logged; None without one."""
    if path.startswith(_MODEL_PREFIX):
        return _MODEL_PREFIX + "{name:path}"
    return path if path in POLICIES else None


def policy_of(path: str) -> Access | None:
    """Return what the route at `path` asks for; None if there is no such route."""
    route = route_of(path)
    return None if route is None else POLICIES[route]


class Guard:
    """ASGI middleware that lets pass whom the table lets pass."""

    def __init__(
        self,
        app: ASGIApp,
        keys: KeyRing,
        metrics: EngineMetrics,
        serves: frozenset[Access],
        *,
        local_only: bool,
    ) -> None:
        """Prepare.

        Args:
            app: What is guarded.
            keys: Who is who.
            serves: The kinds of routes that exist on this port.
            metrics: Where refusals are counted.
            local_only: Whether only requests addressed to this machine by name or number pass.
        """
        self._app = app
        self._keys = keys
        self._metrics = metrics
        self._serves = serves
        self._local_only = local_only and keys.is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        if scope["type"] == "http":
            refusal = self._refusal(scope)
            if refusal is not None:
                self._metrics.count_rejected(refusal.code)
                _log.info(
                    "refused",
                    request_id=scope["state"]["request_id"],
                    status=refusal.status,
                    code=refusal.code,
                )
                await refusal.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> ErrorReply | None:
        """Return why not; otherwise note in the scope's state who calls and by when."""
        access = policy_of(scope["path"])
        headers = _headers(scope)
        if self._local_only and not _names_this_machine(headers.get(b"host", b"")):
            return _MISDIRECTED
        if access not in self._serves:
            return _UNKNOWN_URL
        assert access is not None, "what has no policy is served nowhere"
        if access is Access.PUBLIC:
            return None
        caller = self._keys.identify(_api_key(headers), _text(headers.get(GATEWAY_KEY_HEADER)))
        if caller is None:
            return _NO_KEY if b"authorization" not in headers else _WRONG_KEY
        if access.value not in caller.scopes:
            return _FORBIDDEN
        told = told_by_gateway(caller, headers)
        if isinstance(told, ErrorReply):
            return told
        deadline_s = deadline_of(caller, headers)
        if isinstance(deadline_s, ErrorReply):
            return deadline_s
        scope["state"]["caller"] = told
        scope["state"]["deadline_s"] = deadline_s
        return None


def _headers(scope: Scope) -> dict[bytes, bytes]:
    # The first of each name: a second one cannot override what a proxy in front has set first.
    return dict(reversed(scope["headers"]))


def _api_key(headers: dict[bytes, bytes]) -> str | None:
    scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
    return _text(key.strip()) if scheme.lower() == b"bearer" and key.strip() else None


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "surrogateescape")


def _names_this_machine(host: bytes) -> bool:
    text = host.decode("latin-1").strip()
    name = text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]
    if name.lower() in ("", "localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


_UNKNOWN_URL = ErrorReply(404, "There is no such URL on this server.", "unknown_url")
_NO_KEY = ErrorReply(
    401,
    "You did not provide an API key; send it as 'Authorization: Bearer KEY'.",
    "invalid_api_key",
    headers={"www-authenticate": "Bearer"},
)
_WRONG_KEY = ErrorReply(
    401,
    "The API key provided is not known here.",
    "invalid_api_key",
    headers={"www-authenticate": "Bearer"},
)
_FORBIDDEN = ErrorReply(403, "This API key may not use this URL.", "permission_denied")
_MISDIRECTED = ErrorReply(
    421,
    "This server answers to localhost or an IP address only; to serve others give it API keys.",
    "misdirected_request",
)
