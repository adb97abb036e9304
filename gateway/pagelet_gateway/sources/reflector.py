"""One kind of object of a cluster, mirrored: listed, watched from there, listed again when due.

What a lost event would have said, the next list says. While the API server is away, what was
mirrored last stays.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Generic, TypeVar

import structlog

from pagelet_gateway.sources.kube_api import ApiError, Change, GoneError, Kind, KubeApi, Object
from pagelet_gateway.sources.metrics import SourceMetrics

log = structlog.get_logger("pagelet.gateway")

FIRST_BACKOFF_S = 0.1
MAX_BACKOFF_S = 5.0
"""Longest pause before the API server is asked again, seconds: how late a gateway is at most
once it is back. A few gateways that ask every five seconds are no load."""

RELIST_S = 600.0
"""Between two lists, seconds, give or take a fifth: what a lost event costs at most."""

T = TypeVar("T")
Key = tuple[str, str]


class Reflector(Generic[T]):
    """Keeps `items` like the server's objects, by namespace and name."""

    def __init__(
        self,
        api: KubeApi,
        kind: Kind,
        namespace: str | None,
        read: Callable[[Object], T],
        changed: Callable[[], None],
        metrics: SourceMetrics,
    ) -> None:
        """Prepare.

        Args:
            api: The API server.
            kind: What to mirror.
            namespace: Where; None for all namespaces.
            read: Keeps of an object what is needed.
            changed: Called after every change of `items`.
            metrics: Where failures are counted.
        """
        self.items: dict[Key, T] = {}
        self.is_listed = False
        """Whether everything was seen once."""
        self._api = api
        self._kind = kind
        self._namespace = namespace
        self._read = read
        self._changed = changed
        self._metrics = metrics
        self._version: str | None = None
        self._list_at = 0.0
        self._failures = 0

    async def run(self) -> None:
        """Mirror until cancelled."""
        while True:
            try:
                await self._turn()
            except GoneError:
                self._version = None
            except ApiError as error:
                await self._pause(str(error))
            except Exception as error:
                log.exception("source failed", kind=self._kind.plural)
                self._version = None
                await self._pause(f"{type(error).__name__}: {error}")

    async def _turn(self) -> None:
        """List if that is due, then watch until the server ends it."""
        if self._version is None or time.monotonic() >= self._list_at:
            await self._list()
        assert self._version is not None
        changes = self._api.watch(self._kind, self._namespace, self._version)
        async with aclosing(changes):
            async for change in changes:
                self._take(change)
        self._answered()

    def _take(self, change: Change) -> None:
        self._answered()
        self._version = change.version
        if change.kind == "BOOKMARK":
            return
        if change.kind == "DELETED":
            self.items.pop(_key(change.item), None)
        else:
            self.items[_key(change.item)] = self._read(change.item)
        self._changed()

    async def _list(self) -> None:
        found, self._version = await self._api.list(self._kind, self._namespace)
        self.items = {_key(item): self._read(item) for item in found}
        self.is_listed = True
        self._list_at = time.monotonic() + RELIST_S * random.uniform(0.8, 1.2)  # noqa: S311
        self._answered()
        self._changed()

    def _answered(self) -> None:
        if self._failures:
            log.info("cluster answers again", kind=self._kind.plural, namespace=self._namespace)
        self._failures = 0
        self._metrics.watching(self._kind.plural, self._namespace, 1)

    async def _pause(self, reason: str) -> None:
        """Say once what is wrong, and wait a little longer each time, each gateway its own time."""
        if not self._failures:
            log.warning(
                "cluster does not answer; trying again",
                kind=self._kind.plural,
                namespace=self._namespace,
                reason=reason,
                serving="last good table" if self.is_listed else "nothing",
            )
        self._metrics.errors.labels(self._kind.plural).inc()
        self._metrics.watching(self._kind.plural, self._namespace, 0)
        longest_s = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(self._failures, 10))
        self._failures += 1
        await asyncio.sleep(longest_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret


def _key(item: Object) -> Key:
    metadata = item["metadata"]
    return str(metadata["namespace"]), str(metadata["name"])
