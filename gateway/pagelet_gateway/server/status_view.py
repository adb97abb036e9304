"""What the status page shows: how every model and revision is, read from the live gateway."""

import asyncio
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from pagelet_gateway.core.breaker import State
from pagelet_gateway.core.guard import Key
from pagelet_gateway.core.recent import INTERVAL_S, RecentCounts, quantile
from pagelet_gateway.core.route_table import ModelRoute, Revision
from pagelet_gateway.core.router import Router
from pagelet_gateway.core.standing import Standing
from pagelet_gateway.fast_histogram import FastHistogram
from pagelet_gateway.metrics import FALLBACK, Metrics

P99 = 0.99

BATCH = 100
"""Series read at a stretch, about 10 µs each: streams wait no longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionView:
    """One revision; what is measured is of the last minute, and None where nothing was."""

    name: str
    role: str
    weight_percent: int | None
    """Share asked for; None for what answers outside the shares."""
    share: float | None
    """Ratio of the model's requests that it answered."""
    num_endpoints: int | None
    num_ended: int
    num_failed: int
    ttft_p99_s: float | None
    itl_p99_s: float | None
    in_flight: int
    queue: int | None
    """Requests that wait in its engines, whoever sent them."""
    held: int
    """Requests that wait in this gateway for a place."""
    circuit: State
    num_ejected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelView:
    """One model."""

    name: str
    resource: str
    generation: int
    standing: Standing
    revisions: tuple[RevisionView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusView:
    """Everything there is to show, of models whose names hold what is looked for."""

    has_table: bool
    wanted: str
    models: tuple[ModelView, ...]
    num_more: int
    """Models left out for want of room."""


@dataclass(frozen=True, slots=True)
class _Now:
    """What is read once for all rows."""

    at: float
    shares: Mapping[Key, float]
    ended: Mapping[Key, int]
    failed: Mapping[Key, int]
    held: Mapping[Key, int]


@dataclass(slots=True)
class StatusReader:
    """Reads the gateway; belongs to the event loop's thread."""

    router: Router
    metrics: Metrics
    _recent: RecentCounts = field(default_factory=RecentCounts)

    async def run(self) -> None:
        """Read histograms now and then, until cancelled."""
        while True:
            await self._read_histograms()
            await asyncio.sleep(INTERVAL_S)

    def view(self, wanted: str = "", *, limit: int) -> StatusView:
        """Return how at most `limit` models are, by name, those whose names hold `wanted`."""
        table = self.router.table
        routes = table.models.values() if table else ()
        found = sorted(
            (r for r in routes if wanted.lower() in r.name.lower()), key=lambda route: route.name
        )
        shown = found[:limit]
        now = self._now()
        return StatusView(
            has_table=table is not None,
            wanted=wanted,
            models=tuple(self._model(route, now) for route in shown),
            num_more=len(found) - len(shown),
        )

    async def _read_histograms(self) -> None:
        known: set[Hashable] = set()
        for kind, histogram in (("ttft", self.metrics.ttft), ("itl", self.metrics.itl)):
            series = list(histogram.counts())
            for start in range(0, len(series), BATCH):
                now = time.monotonic()
                for labels, counts in series[start : start + BATCH]:
                    self._recent.read((kind, labels), counts, now)
                    known.add((kind, labels))
                await asyncio.sleep(0)
        self._recent.keep_only(known)

    def _now(self) -> _Now:
        at, metrics = time.monotonic(), self.metrics
        return _Now(
            at=at,
            shares=metrics.shares.shares(),
            ended=metrics.ended.counts(at),
            failed=metrics.failed.counts(at),
            held=metrics.crowds.held(),
        )

    def _p99_s(self, kind: str, histogram: FastHistogram, key: Key, now: float) -> float | None:
        counts = histogram.counts_of(*key)
        if counts is None:
            return None
        return quantile(histogram.bounds, self._recent.since((kind, key), counts, now), P99)

    def _model(self, route: ModelRoute, now: _Now) -> ModelView:
        rows = [self._revision(route.name, item, now) for item in route.revisions]
        elsewhere = (route.name, FALLBACK)
        if now.ended.get(elsewhere) or self.metrics.flying(*elsewhere):
            rows.append(self._row(elsewhere, now, role="-", weight=None, urls=None))
        return ModelView(
            name=route.name,
            resource=route.resource,
            generation=route.generation,
            standing=route.standing or Standing(),
            revisions=tuple(rows),
        )

    def _revision(self, model: str, item: Revision, now: _Now) -> RevisionView:
        key = model, item.name
        return self._row(key, now, role=item.role, weight=item.weight, urls=item.endpoints)

    def _row(
        self, key: Key, now: _Now, *, role: str, weight: int | None, urls: tuple[str, ...] | None
    ) -> RevisionView:
        circuit, num_ejected = self.router.guard.state_of(key, now.at)
        return RevisionView(
            name=key[1],
            role=role,
            weight_percent=weight,
            share=now.shares.get(key),
            num_endpoints=None if urls is None else len(urls),
            num_ended=now.ended.get(key, 0),
            num_failed=now.failed.get(key, 0),
            ttft_p99_s=self._p99_s("ttft", self.metrics.ttft, key, now.at),
            itl_p99_s=self._p99_s("itl", self.metrics.itl, key, now.at),
            in_flight=self.metrics.flying(*key),
            queue=self.router.waiting(urls or (), now.at),
            held=now.held.get(key, 0),
            circuit=circuit,
            num_ejected=num_ejected,
        )
