"""Quotas kept in a Valkey or Redis server that all replicas share: exact, however uneven the load.

One round trip per admission. When the server is gone the configured answer holds (a local share,
everything, or nothing), and it is asked again after a moment; no request waits for it longer
than its timeout. A gateway that dies leaves its places taken until their leases end.
"""

import asyncio
import contextlib
import hashlib
import time
import uuid
from collections.abc import AsyncIterator, Container, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import structlog
from prometheus_client import Counter
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from pagelet_gateway.core.quota import Limit, Refused, Scope, Standing, Standings
from pagelet_gateway.core.route_table import Quota
from pagelet_gateway.errors import UnavailableError
from pagelet_gateway.server.quota_scripts import ADMIT, SETTLE
from pagelet_gateway.server.quotas import Grant, LocalQuotas

log = structlog.get_logger("pagelet.gateway")

REST_S = 1.0
"""After a failure: how long the server is not asked, so that an outage costs one request a
second and not each of them."""

SETTLE_AGAIN_S = (0.5, 2.0, 10.0)
"""Waits before a settlement is tried again; after that the lease ends it."""

LEASE_EXTRA_S = 10.0
"""A place is held this much longer than its request can last."""

MAX_CONNECTIONS = 32

MAX_WAIT_S = 5.0
"""Longest wait for a connection that others use: thousands of admissions at once are done by then,
and a server that is busy is not gone."""

_KINDS = (Limit.CONCURRENT, Limit.REQUESTS, Limit.TOKENS)
_GONE = (RedisError, OSError, TimeoutError)


class OnFailure(StrEnum):
    """What holds while the server is gone."""

    LOCAL = "local"
    """An even share per replica, as without a server."""
    OPEN = "open"
    """Everything is admitted."""
    CLOSED = "closed"
    """Nothing is: 503 with Retry-After."""


@dataclass(slots=True, eq=False)
class StoredTicket:
    """A request that was admitted by the server."""

    id: str
    tokens: int
    scopes: tuple[Scope, ...]
    slot: int
    standings: Standings
    is_open: bool = True


class StoredQuotas:
    """Accounts in a common server."""

    def __init__(
        self,
        url: str,
        on_failure: OnFailure,
        local: LocalQuotas,
        failures: Counter,
        *,
        timeout_s: float,
    ) -> None:
        """Prepare; the first request connects.

        Args:
            url: redis://, rediss:// or unix://, with a password if need be; it is not logged.
            on_failure: What holds while the server is gone.
            local: Decides then, with LOCAL.
            failures: Counts calls that failed.
            timeout_s: Longest wait for the server.

        Raises:
            ValueError: The URL is not one.
        """
        pool = ConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        self._client: Redis = Redis.from_pool(pool)
        self._admit = self._client.register_script(ADMIT)
        self._settle = self._client.register_script(SETTLE)
        self._places = asyncio.Semaphore(MAX_CONNECTIONS)
        self._timeout_s = timeout_s
        self._on_failure = on_failure
        self._local = local
        self._rests_until = 0.0
        self._is_gone = False
        self._settling: set[asyncio.Task[None]] = set()
        self._failures = failures

    async def admit(self, scopes: Sequence[Scope], tokens: int, lease_s: float) -> Grant | Refused:
        """Ask the server, or decide without it while it is gone.

        Raises:
            UnavailableError: It is gone, and nothing is to be admitted without it; or too many
                ask it at once.
        """
        if not self._rests:
            async with self._place() as has_place:
                if not has_place:
                    return await self._without_place(scopes, tokens, lease_s)
                if not self._rests:  # it may have gone while this one waited
                    answer = await self._ask_or_note(scopes, tokens, lease_s)
                    if answer is not None:
                        return answer
        return await self._without(scopes, tokens, lease_s)

    @property
    def _rests(self) -> bool:
        return time.monotonic() < self._rests_until

    @contextlib.asynccontextmanager
    async def _place(self) -> AsyncIterator[bool]:
        """Wait for a free connection; False if none was free in time."""
        try:
            async with asyncio.timeout(MAX_WAIT_S):
                await self._places.acquire()
        except TimeoutError:
            yield False
            return
        try:
            yield True
        finally:
            self._places.release()

    async def _ask_or_note(
        self, scopes: Sequence[Scope], tokens: int, lease_s: float
    ) -> Grant | Refused | None:
        ticket = StoredTicket(uuid.uuid4().hex, tokens, tuple(scopes), 0, Standings())
        try:
            return await self._ask(ticket, lease_s)
        except _GONE as error:
            self._note_gone(error)
            return None
        except asyncio.CancelledError:
            self.settle(ticket, 0)  # it may have been charged
            raise

    async def _without_place(
        self, scopes: Sequence[Scope], tokens: int, lease_s: float
    ) -> Grant | Refused:
        """Decide while the server lives and cannot be asked: a local share would come on top."""
        if self._on_failure is OnFailure.OPEN:
            return await self._without(scopes, tokens, lease_s)
        raise UnavailableError(
            "Too many requests wait for their quotas to be checked; try again.",
            code="quota_store_busy",
            retry_after_s=1,
        )

    def settle(self, grant: Grant, tokens: int) -> None:
        """End a request; the server is told in the background."""
        if not isinstance(grant, StoredTicket):
            self._local.settle(grant, tokens)
        elif grant.is_open:
            grant.is_open = False
            task = asyncio.create_task(self._tell(grant, tokens))
            self._settling.add(task)
            task.add_done_callback(self._settling.discard)

    def keep_only(self, keys: Container[tuple[str, ...]]) -> None:
        """Forget local scopes; those in the server expire by themselves."""
        self._local.keep_only(keys)

    async def close(self) -> None:
        """Wait a moment for settlements under way, then close the connections."""
        if self._settling:
            await asyncio.wait(self._settling, timeout=2 * self._timeout_s)
        for task in self._settling:
            task.cancel()
        await self._client.aclose()

    async def _ask(self, ticket: StoredTicket, lease_s: float) -> Grant | Refused:
        limits = [_text(limit) for scope in ticket.scopes for limit in _limits(scope.quota)]
        answer = await self._admit(
            keys=_keys(ticket.scopes),
            args=[ticket.id, max(0.0, lease_s) + LEASE_EXTRA_S, ticket.tokens, *limits],
        )
        self._note_back()
        index, kind, wait_ms, ticket.slot = map(int, answer[:4])
        ticket.standings = _standings(ticket.scopes, [int(value) for value in answer[4:]])
        if not index:
            return ticket
        scope = ticket.scopes[index - 1]
        allowed = _limits(scope.quota)[kind - 1]
        assert allowed is not None, "only a limit refuses"
        return Refused(scope, _KINDS[kind - 1], allowed, wait_ms / 1000, ticket.standings)

    async def _without(
        self, scopes: Sequence[Scope], tokens: int, lease_s: float
    ) -> Grant | Refused:
        match self._on_failure:
            case OnFailure.LOCAL:
                return await self._local.admit(scopes, tokens, lease_s)
            case OnFailure.OPEN:
                unlimited = [replace(scope, quota=Quota()) for scope in scopes]
                return await self._local.admit(unlimited, tokens, lease_s)
            case OnFailure.CLOSED:
                raise UnavailableError(
                    "Quotas cannot be checked right now; try again.",
                    code="quota_store_unavailable",
                    retry_after_s=1,
                )

    async def _tell(self, ticket: StoredTicket, tokens: int) -> None:
        has_limit = [_text(scope.quota.tokens_per_minute) and "1" for scope in ticket.scopes]
        args: list[str | int] = [ticket.id, ticket.slot, ticket.tokens, tokens, *has_limit]
        for wait_s in (*SETTLE_AGAIN_S, None):
            try:
                async with self._places:
                    await self._settle(keys=_keys(ticket.scopes), args=args)
                return
            except _GONE as error:
                self._note_gone(error)
            if wait_s is not None:
                await asyncio.sleep(wait_s)

    def _note_gone(self, error: Exception) -> None:
        self._failures.inc()
        self._rests_until = time.monotonic() + REST_S
        if not self._is_gone:
            self._is_gone = True
            log.warning(
                "quota store is gone", reason=type(error).__name__, until_then=self._on_failure
            )

    def _note_back(self) -> None:
        if self._is_gone:
            self._is_gone = False
            log.info("quota store is back")


def _limits(quota: Quota) -> tuple[int | None, int | None, int | None]:
    return quota.max_concurrent_requests, quota.requests_per_minute, quota.tokens_per_minute


def _text(limit: int | None) -> str:
    return "" if limit is None else str(limit)


def _keys(scopes: Sequence[Scope]) -> list[str]:
    """Three per scope; digests, since names may hold anything."""
    keys = []
    for scope in scopes:
        tag, name = _digest(scope.key[1]), _digest(*scope.key)
        keys += [f"pagelet:{{{tag}}}:{name}:{kind}" for kind in ("flying", "requests", "tokens")]
    return keys


def _digest(*parts: str) -> str:
    joined = b"".join(b"%d:" % len(part) + part.encode("utf-8") for part in parts)
    return hashlib.sha256(joined).hexdigest()[:32]


def _standings(scopes: Sequence[Scope], seen: Sequence[Any]) -> Standings:
    if not scopes:
        return Standings()
    quota, (requests, requests_ms, tokens, tokens_ms) = scopes[0].quota, seen
    return Standings(
        requests=_standing(quota.requests_per_minute, requests, requests_ms),
        tokens=_standing(quota.tokens_per_minute, tokens, tokens_ms),
    )


def _standing(limit: int | None, used: int, reset_ms: int) -> Standing | None:
    return None if limit is None else Standing(limit, max(0, limit - used), reset_ms / 1000)
