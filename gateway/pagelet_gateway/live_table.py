"""The route table as it changes: takes what a source delivers, keeps the last good one."""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import structlog

from pagelet_gateway.core.route_table import RouteTable
from pagelet_gateway.core.router import Router
from pagelet_gateway.core.table_fields import RouteTableError
from pagelet_gateway.core.table_parser import parse
from pagelet_gateway.core.unknown_fields import unknown_fields
from pagelet_gateway.metrics import Metrics

log = structlog.get_logger("pagelet.gateway")


class LiveTable:
    """Feeds the router; belongs to the event loop's thread."""

    def __init__(self, router: Router, metrics: Metrics) -> None:
        self._router = router
        self._metrics = metrics
        self._changed = asyncio.Event()
        metrics.circuits.watch(router.guard.states)

    def offer(self, raw: bytes | Mapping[str, Any] | RouteTable) -> bool:
        """Obey a new table, or refuse it with one log line and go on with the last good one.

        Args:
            raw: JSON, an object, or a table that was read already.

        Returns:
            Whether the table is obeyed now.
        """
        try:
            table = raw if isinstance(raw, RouteTable) else parse(raw)
        except RouteTableError as error:
            self._metrics.table_errors.inc()
            log.error(
                "route table refused",
                reason=str(error),
                serving="last good table" if self._router.table else "nothing",
            )
            return False
        before = self._router.table
        self._router.apply(table)
        self._export(table)
        log.info("route table obeyed", **_changes(before, table))
        self._warn_of_chains(table)
        if not isinstance(raw, RouteTable):
            _warn_of_unknown_fields(raw)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        return True

    async def change(self, timeout_s: float) -> bool:
        """Wait for the next table; False if none came in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _warn_of_chains(self, table: RouteTable) -> None:
        trouble = self._metrics.fallback_trouble
        trouble.clear()
        for name in table.models:
            chain = self._router.fallbacks(name)
            if chain.loop:
                trouble.labels(name, "loop").set(1)
                log.warning("fallbacks form a loop", model=name, loop=" → ".join(chain.loop))
            if chain.unknown:
                trouble.labels(name, "unknown_model").set(1)
                log.warning("fallbacks name no model", model=name, unknown=list(chain.unknown))

    def _export(self, table: RouteTable) -> None:
        self._metrics.table_models.set(len(table.models))
        self._metrics.table_updates.inc()
        self._metrics.table_loaded_at.set(time.time())
        self._metrics.set_routes(
            {
                (route.name, revision.name): (revision.weight, route.generation)
                for route in table.models.values()
                for revision in route.revisions
            }
        )


def _warn_of_unknown_fields(raw: bytes | Mapping[str, Any]) -> None:
    fields = unknown_fields(json.loads(raw) if isinstance(raw, bytes) else raw)
    if fields:
        log.warning("route table has unknown fields; they have no effect", fields=list(fields))


def _changes(before: RouteTable | None, after: RouteTable) -> dict[str, Any]:
    """Return the weights that changed: a table of a cluster may be long and change often."""
    old = _weights(before) if before else {}
    new = _weights(after)
    changed = {name: weights for name, weights in new.items() if weights != old.get(name)}
    removed = sorted(old.keys() - new.keys())
    return {"models": changed} | ({"removed": removed} if removed else {})


def _weights(table: RouteTable) -> dict[str, dict[str, int]]:
    return {
        route.name: {revision.name: revision.weight for revision in route.revisions}
        for route in table.models.values()
    }
