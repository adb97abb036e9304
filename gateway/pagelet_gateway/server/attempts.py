"""Attempts of one request, until an engine answers or nothing is left to try."""

import asyncio
import time

import structlog

from pagelet_gateway.config import GatewayConfig
from pagelet_gateway.core.retry import FIRST_BYTE_SHARE, Failure, RetryBudget, may_retry
from pagelet_gateway.core.router import Router, Target
from pagelet_gateway.live_table import LiveTable
from pagelet_gateway.metrics import FALLBACK, Metrics
from pagelet_gateway.server.call import Call
from pagelet_gateway.server.crowd import Crowd
from pagelet_gateway.server.giving_up import check_hops, give_up
from pagelet_gateway.server.itinerary import Itinerary
from pagelet_gateway.server.sender import Sender
from pagelet_gateway.server.stopwatch import Stopwatch
from pagelet_gateway.server.upstream import Answer, AttemptError
from pagelet_gateway.server.verdicts import Verdicts

log = structlog.get_logger("pagelet.gateway")

_HOLDS = frozenset({Failure.REFUSED, Failure.UNREACHABLE, Failure.DRAINING, Failure.RESET})
"""What a newer table may already know about."""


class Attempts:
    """Opens answers; keeps the router's count of what is in flight."""

    def __init__(
        self,
        config: GatewayConfig,
        router: Router,
        live_table: LiveTable,
        sender: Sender,
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._router = router
        self._live_table = live_table
        self._sender = sender
        self._metrics = metrics
        self._itinerary = Itinerary(router, config.max_attempts)
        self._budget = RetryBudget()
        self._crowd = Crowd(router)
        metrics.crowds.watch(router.limits, self._crowd.lengths)

    async def open(self, call: Call) -> Answer:
        """Try endpoints and fallbacks until one answers; the caller must `close` the answer.

        An engine's own error is the answer if nothing else has a better one.

        Raises:
            RefusalError: None did, within the attempts, the time and the budget.
        """
        call.dealt_to = call.revision
        check_hops(call)
        self._budget.deposit()
        call.verdicts = Verdicts(self._router.guard)
        target = await self._first_target(call)
        try:
            while target is not None:
                try:
                    return await self._attempt(call, target)
                except AttemptError as error:
                    self._note(call, target, error)
                    target = await self._next_target(call, target, error.failure)
            return self._spare(call) or give_up(call, self._router, time.monotonic())
        finally:
            if call.spare is not None:
                call.spare[1].close()
                call.spare = None

    def close(self, call: Call, answer: Answer) -> None:
        """Let go of an answer that `open` returned, read to its end or not."""
        answer.close()
        assert call.target is not None
        # Dropped: a call in a circle of references would keep its body until a garbage collection.
        stopwatch, call.stopwatch = call.stopwatch, None
        if stopwatch is not None:
            stopwatch.end()
        self._end(call.target)

    def _end(self, target: Target) -> None:
        self._router.end(target)
        self._crowd.make_room(target.key)

    async def _first_target(self, call: Call) -> Target | None:
        """Choose where a call goes first; where its engines have enough, wait or go around."""
        target, reason = self._itinerary.first(call, call.started_at), "unavailable"
        if target is not None and target.link is None and self._crowd.is_in_front_of(target):
            around = self._itinerary.around(call, time.monotonic())
            if around is None:
                return await self._crowd.place_for(
                    call, target, lambda: self._itinerary.first(call, time.monotonic())
                )
            target, reason = around, Failure.BUSY
        if target is not None and target.link is not None:
            self._metrics.fell_back(call.model, target.link.name, reason)
        return target

    def judge(self, call: Call) -> None:
        """Tell the circuits how a call ended."""
        if call.verdicts is None:
            return
        is_good = call.went_well(is_excused=self._is_excused(call))
        is_common = call.never_began and not call.seen.is_stream
        call.verdicts.end(time.monotonic(), is_good=is_good, is_common=is_common)

    async def _attempt(self, call: Call, target: Target) -> Answer:
        now = time.monotonic()
        call.attempts += 1
        call.target, call.asked_at = target, now
        call.revision = FALLBACK if target.link else target.revision
        assert call.verdicts is not None
        call.verdicts.begin(target, now, call.deadline)
        self._router.begin(target, call.prefix)
        call.stopwatch = stopwatch = Stopwatch(call, target, self._router)
        try:
            answer = await self._send_patiently(call, target)
        except BaseException as error:
            call.stopwatch = None
            stopwatch.end(was_too_slow=_is_slow(error))
            self._end(target)
            raise
        answered_at = time.monotonic()
        call.verdicts.answered(answered_at)
        self._router.answered(target)
        if answer.was_stale:
            self._metrics.retries.labels(call.model, "stale_connection").inc()
        stopwatch.answered(answer, answered_at)
        self._hear(target.url)

        def on_part() -> None:
            self._hear(target.url)
            stopwatch.heard()

        answer.on_part = on_part
        if answer.is_event_stream and target.revision:
            self._router.guard.saw_first_token(
                target.key, target.url, answered_at - now, answered_at
            )
        return answer

    def _hear(self, url: str) -> None:
        self._router.liveness.hear(url, time.monotonic())

    def _is_excused(self, call: Call) -> bool:
        """Whether running out of time says nothing about the engine asked last.

        It does not if the client was in a hurry, nor if a whole answer was asked for and the
        engine was at work for others meanwhile.
        """
        if call.is_hurried:
            return True
        if call.target is None or call.seen.is_stream:
            return False
        return self._router.liveness.was_heard_since(call.target.url, call.asked_at)

    async def _send_patiently(self, call: Call, target: Target) -> Answer:
        """Send, and wait for the first byte as long as there is nothing better to do."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as patience:

                def lose_it() -> None:
                    # Paid for here: whoever gives up first must not find the budget used up.
                    knows_another = self._itinerary.knows_another(call, target, time.monotonic())
                    if knows_another and self._budget.withdraw():
                        patience.reschedule(loop.time())

                share_s = FIRST_BYTE_SHARE * max(0.0, call.remaining_s())
                timer = loop.call_later(share_s, lose_it)
                try:
                    return await self._sender.send(call, target)
                finally:
                    timer.cancel()
        except TimeoutError:
            raise AttemptError(Failure.SLOW, f"no first byte in {share_s:.3g} s") from None

    def _note(self, call: Call, target: Target, error: AttemptError) -> None:
        now = time.monotonic()
        assert call.verdicts is not None
        was_late = _was_late(error)
        call.verdicts.failed(
            error.failure,
            now,
            is_excused=was_late and self._is_excused(call),
            is_common=was_late and not call.seen.is_stream,
        )
        self._router.report(target, error.failure, now)
        call.failure = error.failure
        if target.link is None:
            call.tried.add(target.url)
            call.had_news = call.had_news or not target.was_avoided
        else:
            call.spent.add(target.link.name)
        if error.answer is not None:
            self._keep_or_drop(call, target, error.answer)
        log.warning(
            "attempt failed",
            model=call.model,
            revision=target.revision,
            endpoint=target.url,
            failure=error.failure,
            detail=str(error),
        )

    def _keep_or_drop(self, call: Call, target: Target, answer: Answer) -> None:
        """Keep what the model's own engine said last, in case nobody has a better answer."""
        if target.link is not None or answer.failure is Failure.DRAINING:
            answer.close()
            return
        if call.spare is not None:
            call.spare[1].close()
        call.spare = (target, answer)

    def _spare(self, call: Call) -> Answer | None:
        if call.spare is None:
            return None
        (call.target, answer), call.spare = call.spare, None
        call.revision = call.target.revision
        self._router.begin(call.target)  # `close` will end it
        return answer

    async def _next_target(self, call: Call, last: Target, failure: Failure) -> Target | None:
        target = self._itinerary.next(call, last, failure, time.monotonic())
        may_hold = failure in _HOLDS and call.spare is None and last.link is None
        # Hold the request only if a failure was news: while an outage lasts, fail at once.
        if target is None and may_hold and call.had_news and not call.was_held:
            call.was_held = True
            await self._live_table.change(self._config.hold_s)
            target = self._itinerary.next(call, last, failure, time.monotonic())
        if target is None or not self._pay(call, target, failure):
            return None
        self._metrics.retries.labels(call.model, failure).inc()
        if target.link is not None:
            self._metrics.fell_back(call.model, target.link.name, failure)
        return target

    def _pay(self, call: Call, target: Target, failure: Failure) -> bool:
        limit = self._itinerary.most_attempts(target)
        return may_retry(
            failure,
            attempts=call.attempts,
            max_attempts=limit,
            budget=self._budget,
        )


def _is_slow(error: BaseException) -> bool:
    return isinstance(error, AttemptError) and error.failure is Failure.SLOW


def _was_late(error: AttemptError) -> bool:
    answer = error.answer
    return error.failure is Failure.SLOW or (answer is not None and answer.response.status == 504)
