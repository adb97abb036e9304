"""Serves one routed request: attempts until one answers, then the relay.

Two tasks per request: one works, the other waits for the client to hang up; whichever ends
first ends the other, so an abandoned request leaves its engine at once.
"""

import asyncio
import time
from collections.abc import Iterator

import structlog

from pagelet_gateway.config import GatewayConfig
from pagelet_gateway.core.route_table import RouteTable
from pagelet_gateway.core.router import Router
from pagelet_gateway.errors import UnavailableError, UpstreamTimeoutError
from pagelet_gateway.metrics import Metrics, Outcome
from pagelet_gateway.server.admission import Admission
from pagelet_gateway.server.assignment import assign
from pagelet_gateway.server.attempts import Attempts
from pagelet_gateway.server.body_memory import BodyMemory
from pagelet_gateway.server.call import Call
from pagelet_gateway.server.deadline import time_limit_s
from pagelet_gateway.server.exchange import Exchange
from pagelet_gateway.server.journal import facts_of
from pagelet_gateway.server.mirror import Mirror
from pagelet_gateway.server.peek import peek
from pagelet_gateway.server.relay import BLAMES_ENGINE, CutError, end_early, relay
from pagelet_gateway.server.tenancy import Gatekeeper
from pagelet_gateway.server.upstream import Answer
from pagelet_gateway.server.watch import Watch

log = structlog.get_logger("pagelet.gateway")

END_EARLY_S = 5.0
"""Longest wait for a client to take its error event."""


class Proxy:
    """Forwards requests to engines; belongs to one event loop."""

    def __init__(
        self,
        config: GatewayConfig,
        router: Router,
        gatekeeper: Gatekeeper,
        admission: Admission,
        attempts: Attempts,
        mirror: Mirror,
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._gatekeeper = gatekeeper
        self._admission = admission
        self._router = router
        self._attempts = attempts
        self._mirror = mirror
        self._metrics = metrics
        self._calls: set[Call] = set()
        self._bodies = BodyMemory(config.max_bodies_bytes)
        metrics.first_token_waits.watch(self._waits)

    @property
    def num_in_flight(self) -> int:
        """Routed requests that have begun and not ended."""
        return len(self._calls)

    def _waits(self, now: float) -> Iterator[tuple[tuple[str, str], float]]:
        for call in self._calls:
            if call.awaits_first_token:
                yield (call.model, call.revision), now - call.started_at

    def cut_all(self, reason: str) -> None:
        """End every request in flight; open streams get an error event."""
        for call in list(self._calls):
            call.cut(reason)

    async def forward(self, exchange: Exchange) -> None:
        """Route a request and relay the answer.

        Raises:
            RefusalError: The gateway answers itself; nothing was sent yet.
            ClientGoneError: The client left while it sent its body.
        """
        started_at = time.monotonic()
        await self._turn_strangers_away(exchange)
        with self._bodies.request() as take:
            body = await exchange.read_body(
                max_bytes=self._config.max_body_bytes,
                timeout_s=self._config.body_timeout_s,
                take=take,
            )
            await self._serve_body(exchange, body, started_at)

    async def _serve_body(self, exchange: Exchange, body: bytes, started_at: float) -> None:
        table = self._table()
        call = self._route(table, exchange, body, started_at)
        await self._admission.admit(call, table)
        try:
            await self._serve_counted(call)
        finally:
            self._admission.settle(call)

    async def _turn_strangers_away(self, exchange: Exchange) -> None:
        """Refuse who may use nothing here before a body takes up memory."""
        refusal = self._gatekeeper.refusal(self._table(), exchange.headers)
        if refusal is not None:
            await exchange.drop_body(max_bytes=self._config.max_body_bytes)
            raise refusal

    async def _serve_counted(self, call: Call) -> None:
        self._calls.add(call)
        dealt_to = call.revision  # another may answer; begin and end must name the same
        self._metrics.begin(call.model, dealt_to)
        try:
            await self._serve_while_listening(call)
        finally:
            self._metrics.end(call.model, dealt_to)
            self._calls.discard(call)
            call.count(self._metrics)
            call.exchange.facts = facts_of(call)

    def _table(self) -> RouteTable:
        if self._router.table is None:
            raise UnavailableError(
                "The gateway has no route table yet.", code="no_route_table", retry_after_s=1
            )
        return self._router.table

    def _route(self, table: RouteTable, exchange: Exchange, body: bytes, started_at: float) -> Call:
        seen = peek(body)
        caller = self._gatekeeper.caller(table, exchange.headers, seen.model)
        self._admission.check(caller, seen)
        route = caller.route
        limit_s = time_limit_s(exchange, route.request_timeout_s)
        assigned = assign(
            self._router,
            route,
            exchange,
            seen,
            salt=caller.opaque_id or "",
            may_choose=caller.may_choose_revision,
        )
        return Call(
            exchange=exchange,
            caller=caller,
            seen=seen,
            model=route.name,
            revision=assigned.revision,
            prefix=assigned.prefix,
            is_pinned=assigned.is_pinned,
            body=body,
            started_at=started_at,
            deadline=started_at + limit_s,
            is_hurried=limit_s < route.request_timeout_s,
        )

    async def _serve_while_listening(self, call: Call) -> None:
        work = call.task = asyncio.create_task(self._serve(call))
        gone = asyncio.create_task(call.exchange.client_gone())
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and not call.exchange.is_complete:
                call.outcome = Outcome.CLIENT_GONE
                work.cancel()
            await asyncio.wait({work})
        finally:
            gone.cancel()
            work.cancel()
            call.task = None
        try:
            if not (work.cancelled() and call.outcome is Outcome.CLIENT_GONE):
                work.result()
        finally:
            # An error's traceback leads here, and would keep the task that keeps the error.
            del work

    async def _serve(self, call: Call) -> None:
        answer: Answer | None = None
        try:
            async with asyncio.timeout(call.remaining_s()):
                answer = await self._attempts.open(call)
                self._metrics.shares.count(call.model, call.revision)
                self._mirror.offer(call)
                await self._relay(call, answer)
        except TimeoutError:
            await self._time_out(call, answer)
        except CutError as error:
            await self._cut(call, answer, error)
        except asyncio.CancelledError:
            if call.cut_for is None:
                raise
            await self._cut(call, answer, CutError(call.cut_for, "The gateway is shutting down."))
        finally:
            self._attempts.judge(call)
            if answer is not None:
                self._attempts.close(call, answer)

    async def _relay(self, call: Call, answer: Answer) -> None:
        watch = Watch(
            answer,
            call.exchange,
            idle_s=self._config.stream_idle_timeout_s,
            slow_reader_s=self._config.slow_reader_timeout_s,
        )
        try:
            with watch:
                await relay(call, answer, self._metrics)
        finally:
            if watch.is_slow_reader:
                self._metrics.streams_cut.labels(call.model, call.revision, "slow_reader").inc()
                log.warning("client does not read", model=call.model, revision=call.revision)

    async def _time_out(self, call: Call, answer: Answer | None) -> None:
        call.outcome = Outcome.TIMEOUT
        phase = "stream" if call.exchange.is_started else "first_byte"
        self._metrics.timeouts.labels(call.model, call.revision, phase).inc()
        limit_s = call.deadline - call.started_at
        message = f"The request was not answered within {limit_s:g} s."
        if not call.exchange.is_started:
            raise UpstreamTimeoutError(message)
        await self._cut(call, answer, CutError("timeout", message))

    async def _cut(self, call: Call, answer: Answer | None, error: CutError) -> None:
        if answer is None or not call.exchange.is_started:
            call.outcome = Outcome.UNAVAILABLE
            raise UnavailableError(str(error), code="shutting_down", retry_after_s=1)
        if call.outcome is not Outcome.TIMEOUT:
            call.outcome = Outcome.CUT
        call.is_engine_to_blame = error.reason in BLAMES_ENGINE
        self._metrics.streams_cut.labels(call.model, call.revision, error.reason).inc()
        log.warning("answer cut", model=call.model, revision=call.revision, reason=error.reason)
        try:
            async with asyncio.timeout(END_EARLY_S):
                await end_early(call, answer, error)
        except TimeoutError:
            log.warning("client did not take the error event", model=call.model)
            call.exchange.abort()
