"""The gateway's HTTP surface: which paths exist, and who answers them.

A bare ASGI application. A framework would add work to every chunk and routes nobody asked
for; here what `POLICIES` does not name is refused.
"""

import time
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.metadata import version
from typing import Any
from urllib.parse import unquote

import msgspec
import structlog

from pagelet_gateway.core.router import Router
from pagelet_gateway.errors import (
    MethodError,
    RefusalError,
    UnavailableError,
    UnknownModelError,
    UnknownRouteError,
)
from pagelet_gateway.metrics import CONTENT_TYPE, Metrics
from pagelet_gateway.server.exchange import ClientGoneError, Exchange, Message, Receive, Send
from pagelet_gateway.server.journal import Journal
from pagelet_gateway.server.proxy import Proxy
from pagelet_gateway.server.tenancy import Gatekeeper

log = structlog.get_logger("pagelet.gateway")

JSON = b"application/json"


class Access(StrEnum):
    """Who answers a path."""

    PROXY = "proxy"
    """An engine of the model the body names."""
    LOCAL = "local"
    """The gateway itself."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What is allowed on one path."""

    method: str
    access: Access

    @property
    def methods(self) -> tuple[str, ...]:
        """All that are answered; HEAD as GET, of which the server leaves the body out."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)


POLICIES = {
    "/v1/chat/completions": Policy("POST", Access.PROXY),
    "/v1/completions": Policy("POST", Access.PROXY),
    "/tokenize": Policy("POST", Access.PROXY),
    "/detokenize": Policy("POST", Access.PROXY),
    "/v1/models": Policy("GET", Access.LOCAL),
    "/livez": Policy("GET", Access.LOCAL),
    "/readyz": Policy("GET", Access.LOCAL),
    "/metrics": Policy("GET", Access.LOCAL),
    "/version": Policy("GET", Access.LOCAL),
}
MODEL_PREFIX = "/v1/models/"
"""What follows is one model's name, slashes included, percent-encoded or not; its policy is that of
/v1/models."""


class App:
    """The ASGI application.

    Attributes:
        is_draining: Set on SIGTERM: /readyz says 503, and answers ask to close the connection.
    """

    def __init__(
        self,
        router: Router,
        gatekeeper: Gatekeeper,
        proxy: Proxy,
        journal: Journal,
        metrics: Metrics,
        *,
        serves_metrics: bool,
    ) -> None:
        self.is_draining = False
        self._serves_metrics = serves_metrics
        self._gatekeeper = gatekeeper
        self._router = router
        self._proxy = proxy
        self._journal = journal
        self._metrics = metrics
        self._started_at = int(time.time())

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request; every failure becomes an OpenAI error object."""
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send, closes=self.is_draining)
        policy = POLICIES.get(exchange.path)
        if policy is None or policy.access is not Access.PROXY:
            await self._answer_or_refuse(exchange)
            return
        entry, code = self._journal.begin(exchange), None
        try:
            code = await self._answer_or_refuse(exchange)
        finally:
            entry.end(code)

    async def _answer_or_refuse(self, exchange: Exchange) -> str | None:
        """Return the error code if the gateway itself had to answer."""
        try:
            await self._answer(exchange)
        except ClientGoneError:
            return "client_gone"
        except RefusalError as error:
            if exchange.path != "/readyz":  # a probe's "not yet" is no rejected request
                self._metrics.rejected.labels(error.code).inc()
            await self._refuse(exchange, error)
            return error.code
        except Exception:  # the outermost loop: a bug in one request must not be one of all
            log.exception("bug", path=exchange.path, request_id=exchange.request_id.decode())
            self._metrics.rejected.labels("internal_error").inc()
            if not exchange.is_started:
                await exchange.refuse(
                    RefusalError("The gateway failed; the operator's log says why.")
                )
            return "internal_error"
        return None

    async def _answer(self, exchange: Exchange) -> None:
        one_model = exchange.path.startswith(MODEL_PREFIX) and exchange.path != MODEL_PREFIX
        policy = POLICIES.get("/v1/models" if one_model else exchange.path)
        is_elsewhere = exchange.path == "/metrics" and not self._serves_metrics
        if policy is None or is_elsewhere:
            raise UnknownRouteError(f"No such URL: {exchange.method} {exchange.path[:200]}.")
        if exchange.method not in policy.methods:
            raise MethodError(f"{exchange.path} takes {policy.method}, not {exchange.method}.")
        if policy.access is Access.PROXY:
            await self._proxy.forward(exchange)
        else:
            await self._answer_locally(exchange)

    async def _answer_locally(self, exchange: Exchange) -> None:
        match exchange.path:
            case "/v1/models":
                models = {"object": "list", "data": self._models(exchange)}
                await exchange.reply(_encode(models), content_type=JSON)
            case "/readyz":
                self._check_ready()
                await exchange.reply(b'{"status":"ready"}', content_type=JSON)
            case "/livez":
                await exchange.reply(b'{"status":"live"}', content_type=JSON)
            case "/version":
                await exchange.reply(_encode({"version": _version()}), content_type=JSON)
            case "/metrics":
                await exchange.reply(self._metrics.render(), content_type=CONTENT_TYPE)
            case path:
                model = self._model(exchange, unquote(path.removeprefix(MODEL_PREFIX)))
                await exchange.reply(_encode(model), content_type=JSON)

    def _models(self, exchange: Exchange) -> list[dict[str, Any]]:
        """OpenAI's model objects: those that this client's requests could be routed to."""
        table = self._router.table
        if table is None:
            raise _no_table()
        usable = self._gatekeeper.visible(table, exchange.headers)
        names = [route.name for route in usable if route.is_servable]
        return [
            {"id": name, "object": "model", "created": self._started_at, "owned_by": "pagelet"}
            for name in names
        ]

    def _model(self, exchange: Exchange, name: str) -> dict[str, Any]:
        for model in self._models(exchange):
            if model["id"] == name:
                return model
        raise UnknownModelError(f"The model {name[:200]!r} does not exist here.", param="model")

    def _check_ready(self) -> None:
        if self.is_draining:
            raise UnavailableError("The gateway is draining.", code="draining", retry_after_s=1)
        if self._router.table is None:
            raise _no_table()

    async def _refuse(self, exchange: Exchange, error: RefusalError) -> None:
        policy = POLICIES.get(exchange.path)
        is_method = isinstance(error, MethodError) and policy is not None
        allowed = [(b"allow", ", ".join(policy.methods).encode())] if is_method and policy else []
        await exchange.refuse(error, allowed)


def _no_table() -> UnavailableError:
    return UnavailableError(
        "The gateway has no route table yet.", code="no_route_table", retry_after_s=1
    )


def _encode(value: object) -> bytes:
    return msgspec.json.encode(value)


@cache
def _version() -> str:
    return version("pagelet")
