"""One of several operators works, the others stand by: by a Lease (`core.leadership` decides).

The Lease is written with the resource version it was read at, so of two that take it at once one
is refused. An operator that ends by itself gives it back, and the next takes over at once.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from pagelet_operator.core.leadership import (
    DEADLINE_S,
    DURATION_S,
    RETRY_S,
    Move,
    Record,
    Sight,
    look,
    may_work,
    move,
)
from pagelet_operator.kube.api import Api, ApiError, ConflictError, Kind, Object

log = logging.getLogger(__name__)

LEASES = Kind("coordination.k8s.io/v1", "Lease", "leases")


class LeaseLostError(Exception):
    """Somebody else may work now, or will; this process has to end."""


class Lease:
    """A Lease as one process uses it."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        me: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            api: The API server.
            namespace: Where the Lease is.
            name: Its name; all operators of one group use the same.
            me: This process, unlike every other, its own predecessor included.
            clock: Monotonic seconds.
        """
        self.held = False
        self._api = api
        self._namespace, self._name, self._me = namespace, name, me
        self._clock = clock
        self._seen: Sight | None = None

    async def turn(self) -> bool:
        """Look once and do what is due; return whether this process holds the Lease.

        Raises:
            ApiError: The API server did not answer, or forbids it.
        """
        found = await self._api.get(LEASES, self._namespace, self._name)
        now = self._clock()
        self._seen = look(self._seen, _record(found), now)
        match move(self._seen, self._me, now):
            case Move.WAIT:
                self.held = False
            case Move.TAKE | Move.RENEW:
                self.held = await self._write(found, self._me)
        return self.held

    async def acquire(self) -> None:
        """Return once this process holds the Lease; an API server that is away is waited for."""
        told = None
        while True:
            try:
                if await self.turn():
                    log.info("holds Lease %s/%s", self._namespace, self._name)
                    return
                state = "somebody else works"
            except ApiError as error:
                state = str(error)
            if state != told:
                log.info("stands by for Lease %s/%s: %s", self._namespace, self._name, state)
                told = state
            await asyncio.sleep(RETRY_S)

    async def keep(self) -> None:
        """Renew the Lease, which is held, until it is lost.

        Raises:
            LeaseLostError: Somebody else holds it, or it could not be renewed in time.
        """
        renewed_at = self._clock()
        trouble = "somebody else took it"
        while may_work(renewed_at, self._clock()):
            sent_at = self._clock()
            try:
                async with asyncio.timeout(DEADLINE_S - (sent_at - renewed_at)):
                    if not await self.turn():
                        break
                renewed_at = sent_at
            except (ApiError, TimeoutError) as error:
                trouble = str(error) or "no answer in time"
                log.warning("Lease %s/%s not renewed: %s", self._namespace, self._name, trouble)
            await asyncio.sleep(RETRY_S)
        self.held = False
        raise LeaseLostError(f"Lease {self._namespace}/{self._name} is lost: {trouble}")

    async def release(self) -> None:
        """Give the Lease back, so that the next need not wait; fine if it is not ours."""
        try:
            found = await self._api.get(LEASES, self._namespace, self._name)
            record = _record(found)
            if record is not None and record.holder == self._me:
                await self._write(found, None)
        except ApiError as error:
            log.warning("Lease %s/%s not given back: %s", self._namespace, self._name, error)
        self.held = False

    async def _write(self, found: Object | None, holder: str | None) -> bool:
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": int(DURATION_S),
            "renewTime": datetime.now(UTC).isoformat(timespec="microseconds").replace(
                "+00:00", "Z"
            ),
        }  # fmt: skip
        try:
            if found is None:
                await self._api.create(LEASES, self._new(spec))
            else:
                await self._api.replace(LEASES, {**found, "spec": spec})
        except ConflictError:
            return False  # Somebody else wrote since; the next look tells who.
        return holder is not None

    def _new(self, spec: Object) -> Object:
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"namespace": self._namespace, "name": self._name},
            "spec": spec,
        }


async def work_while_held(lease: Lease, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work while the Lease, which is held, is kept; give it back when the work has ended.

    Raises:
        LeaseLostError: The Lease was lost; the work was cancelled and has ended.
    """
    working = asyncio.ensure_future(work())
    keeping = asyncio.create_task(lease.keep())
    try:
        await asyncio.wait({working, keeping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        lost = keeping.done()
        for task in (working, keeping):
            task.cancel()
        outcomes = await asyncio.gather(working, keeping, return_exceptions=True)
        if not lost:
            await lease.release()
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


def _record(found: Object | None) -> Record | None:
    if found is None:
        return None
    holder = found.get("spec", {}).get("holderIdentity") or None
    return Record(holder, found["metadata"]["resourceVersion"])
