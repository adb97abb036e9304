"""Attempts of one request, until an engine answers or nothing is left to try."""

import time
from functools import partial

import aiohttp
import structlog

from pagelet_gateway.config import GatewayConfig
from pagelet_gateway.core.retry import Failure, RetryBudget, may_retry
from pagelet_gateway.core.router import Router, Target
from pagelet_gateway.errors import BadUpstreamError, UnavailableError
from pagelet_gateway.live_table import LiveTable
from pagelet_gateway.metrics import Metrics, Outcome
from pagelet_gateway.server.call import Call
from pagelet_gateway.server.headers import to_engine, trusted
from pagelet_gateway.server.upstream import Answer, AttemptError, attempt

log = structlog.get_logger("pagelet.gateway")


class Attempts:
    """Opens answers; keeps the router's count of what is in flight."""

    def __init__(
        self,
        config: GatewayConfig,
        router: Router,
        live_table: LiveTable,
        session: aiohttp.ClientSession,
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._router = router
        self._live_table = live_table
        self._session = session
        self._metrics = metrics
        self._budget = RetryBudget()

    async def open(self, call: Call) -> Answer:
        """Try endpoints until one answers; the caller must `close` the answer.

        Raises:
            UnavailableError: None did, within the attempts and the budget.
            BadUpstreamError: One answered something that is not HTTP.
        """
        self._budget.deposit(call.started_at)
        target = self._router.choose(
            call.model,
            call.revision,
            call.started_at,
            prefix=call.prefix,
            is_pinned=call.is_pinned,
        )
        while target is not None:
            call.attempts += 1
            call.target, call.revision = target, target.revision
            try:
                return await self._attempt(call, target)
            except AttemptError as error:
                self._note(call, target, error)
                target = await self._next_target(call, target, error.failure)
        call.outcome = Outcome.UNAVAILABLE
        raise UnavailableError(
            f"No engine of model {call.model!r} takes requests right now; try again.",
            retry_after_s=1,
        )

    def close(self, call: Call, answer: Answer) -> None:
        """Let go of an answer that `open` returned, read to its end or not."""
        answer.close()
        assert call.target is not None
        self._router.end(call.target)

    async def _attempt(self, call: Call, target: Target) -> Answer:
        exchange = call.exchange
        headers = to_engine(
            exchange.headers,
            request_id=exchange.request_id,
            deadline_ms=max(1, int(call.remaining_s() * 1000)),
        ) | trusted(call.caller, call.caller.route)
        self._router.begin(target, call.prefix)
        try:
            url = target.url + exchange.path
            answer = await attempt(self._session, url, body=call.body, headers=headers)
            self._router.answered(target)
            return answer
        except BaseException:
            self._router.end(target)
            raise

    def _note(self, call: Call, target: Target, error: AttemptError) -> None:
        self._router.report(target, error.failure, time.monotonic())
        call.tried.add(target.url)
        call.had_news = call.had_news or not target.was_avoided
        log.warning(
            "attempt failed",
            model=call.model,
            revision=target.revision,
            endpoint=target.url,
            failure=error.failure,
            detail=str(error),
        )
        if error.failure is Failure.PROTOCOL:
            call.outcome = Outcome.UPSTREAM_ERROR
            raise BadUpstreamError("The engine's answer is not valid HTTP.")

    async def _next_target(self, call: Call, last: Target, failure: Failure) -> Target | None:
        now = time.monotonic()
        limit = self._config.max_attempts
        if not may_retry(
            failure, attempts=call.attempts, max_attempts=limit, budget=self._budget, now=now
        ):
            return None
        target = self._left(call, last)
        # Hold the request only if a failure was news: while an outage lasts, fail at once.
        if target is None and call.had_news and not call.was_held:
            call.was_held = True
            await self._live_table.change(self._config.hold_s)
            target = self._left(call, last)
        if target is not None:
            self._metrics.retries.labels(call.model, failure).inc()
        return target

    def _left(self, call: Call, last: Target) -> Target | None:
        """Another endpoint; failing that, one that was tried but does not refuse.

        A connection that was reset may only have been idle for too long, so the endpoint
        itself may be sound. An endpoint that others were refused by is asked as a last
        resort, but only once per request, which keeps attempts near one in an outage.
        """
        now = time.monotonic()
        choose = partial(
            self._router.choose,
            call.model,
            call.revision,
            now,
            prefix=call.prefix,
            is_pinned=call.is_pinned,
        )
        target = choose(tried=call.tried, even_avoided=not last.was_avoided)
        return target or choose(even_avoided=False)
