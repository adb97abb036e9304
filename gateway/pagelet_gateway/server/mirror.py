"""Copies some of stable's requests to a canary, and drops the answers.

A copy begins after the user's own answer has begun, in a task of its own, and nothing of the
user's request waits for it or hears of it. It makes one attempt, counts at the canary's quota,
and is refused a place when too many run; the canary's engines see `x-pagelet-mirror: 1`.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator
from enum import StrEnum

import aiohttp
import structlog

from pagelet_gateway.core.mirror import MirrorDealer, mirrored_to
from pagelet_gateway.core.quota import Refused, Scope
from pagelet_gateway.core.route_table import Revision
from pagelet_gateway.core.router import Router
from pagelet_gateway.metrics import Metrics
from pagelet_gateway.server.admission import GENERATES
from pagelet_gateway.server.call import Call
from pagelet_gateway.server.headers import to_engine, trusted
from pagelet_gateway.server.quotas import Quotas
from pagelet_gateway.server.upstream import Answer, AttemptError, BrokenStreamError, attempt

log = structlog.get_logger("pagelet.gateway")


class Copy(StrEnum):
    """How a copy ended; the label of `pagelet_gateway_mirrored_total`."""

    OK = "ok"
    FAILED = "failed"
    """The canary answered an error, or not to the end."""
    TIMEOUT = "timeout"
    BUSY = "busy"
    """Not sent: as many copies as allowed were running."""
    QUOTA = "quota"
    """Not sent: the canary's quota is used up."""


class Mirror:
    """Sends copies; belongs to one event loop."""

    def __init__(
        self, router: Router, quotas: Quotas, session: aiohttp.ClientSession, metrics: Metrics
    ) -> None:
        self._router = router
        self._quotas = quotas
        self._session = session
        self._metrics = metrics
        self._dealers: defaultdict[str, MirrorDealer] = defaultdict(MirrorDealer)
        self._tasks: set[asyncio.Task[None]] = set()

    def offer(self, call: Call) -> None:
        """Copy this request if it is its turn; returns at once and never raises.

        Call it when the answer has begun: whether and by whom the user is served is decided.
        """
        route = call.caller.route
        canary = mirrored_to(route, call.revision)
        if canary is None or call.model != route.name or call.exchange.path not in GENERATES:
            return
        dealer = self._dealers[route.name]
        if not dealer.deal(route.routing.mirror_percent):
            return
        if not dealer.begin():
            self._count(call, canary, Copy.BUSY)
            return
        task = asyncio.create_task(self._copy(call, canary, dealer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Drop all copies in flight."""
        for task in list(self._tasks):
            task.cancel()

    async def _copy(self, call: Call, canary: Revision, dealer: MirrorDealer) -> None:
        try:
            outcome = await self._admitted(call, canary)
        except Exception:  # nothing of a copy may reach the user's request
            log.exception("mirror failed", model=call.model, revision=canary.name)
            outcome = Copy.FAILED
        finally:
            dealer.end()
        self._count(call, canary, outcome)

    async def _admitted(self, call: Call, canary: Revision) -> Copy:
        scope = Scope(("revision", call.caller.route.name, canary.name), canary.quota)
        tokens = call.grant.tokens if call.grant else 0
        answer = await self._quotas.admit([scope], tokens, call.remaining_s())
        if isinstance(answer, Refused):
            return Copy.QUOTA
        try:
            async with asyncio.timeout(call.remaining_s()):
                return await self._send(call, canary)
        except TimeoutError:
            return Copy.TIMEOUT
        finally:
            self._quotas.settle(answer, tokens)

    async def _send(self, call: Call, canary: Revision) -> Copy:
        route = call.caller.route
        with self._target(call, canary) as url:
            if url is None:
                return Copy.FAILED
            headers = to_engine(
                call.exchange.headers,
                request_id=call.exchange.request_id[:120] + b"-mirror",
                deadline_ms=max(1, int(call.remaining_s() * 1000)),
            ) | trusted(call.caller, route)
            headers["x-pagelet-mirror"] = "1"
            try:
                answer = await attempt(
                    self._session, url + call.exchange.path, body=call.body, headers=headers
                )
            except AttemptError as error:
                if error.answer is not None:
                    error.answer.close()
                return Copy.FAILED
            return await _drop(answer)

    @contextlib.contextmanager
    def _target(self, call: Call, canary: Revision) -> Iterator[str | None]:
        """The canary's endpoint for a copy, counted as in flight there."""
        now = time.monotonic()
        target = self._router.choose(
            call.caller.route.name,
            canary.name,
            now,
            prefix=call.prefix,
            even_avoided=False,
            is_pinned=True,
        )
        if target is None:
            yield None
            return
        self._router.begin(target, call.prefix)
        try:
            yield target.url
        finally:
            self._router.end(target)

    def _count(self, call: Call, canary: Revision, outcome: Copy) -> None:
        self._metrics.mirror(call.caller.route.name, canary.name, outcome)


async def _drop(answer: Answer) -> Copy:
    """Read an answer to its end and keep nothing."""
    try:
        while await answer.read():
            pass
        return Copy.OK if answer.response.status < 400 else Copy.FAILED
    except BrokenStreamError:
        return Copy.FAILED
    finally:
        answer.close()
