"""A route table from a live cluster: ModelDeployments, EndpointSlices and the Secrets they name.

    ModelDeployments ──watch──┐
    EndpointSlices   ──watch──┼──► assemble (pure) ──► sink, when the table differs
    Secrets      ──get, 1/s───┘

Every gateway follows the cluster by itself: none depends on another, nor on the operator, and
all reach the same table. Whatever is away, the table that was delivered last serves on.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import structlog
from kubernetes.aio.client import Configuration

from pagelet_gateway.core.assembly import Assembly, Good, assemble, references
from pagelet_gateway.core.cluster import (
    MODEL_LABEL,
    Resource,
    Slice,
    resource_of,
    slice_of,
)
from pagelet_gateway.core.route_table import RouteTable
from pagelet_gateway.sources.kube_api import Kind, KubeApi, Object, connect
from pagelet_gateway.sources.metrics import SourceMetrics
from pagelet_gateway.sources.reflector import Reflector
from pagelet_gateway.sources.secret_reader import SecretReader
from pagelet_gateway.sources.source import Sink

log = structlog.get_logger("pagelet.gateway")

MODELS = Kind("/apis/pagelet.dev/v1alpha1", "modeldeployments")
SLICES = Kind("/apis/discovery.k8s.io/v1", "endpointslices", MODEL_LABEL)

T = TypeVar("T")

GATHER_S = 0.02
"""Between a change and the table made of it, seconds: a burst becomes one table."""


class KubernetesSource:
    """Delivers the table of a cluster, or of some of its namespaces."""

    def __init__(
        self,
        configuration: Configuration,
        namespaces: Sequence[str],
        sink: Sink,
        metrics: SourceMetrics,
    ) -> None:
        """Prepare.

        Args:
            configuration: How to reach the API server.
            namespaces: Which to follow; none for all.
            sink: Takes every new table.
            metrics: Where trouble is counted.
        """
        self._configuration = configuration
        self._namespaces: tuple[str | None, ...] = tuple(sorted(set(namespaces))) or (None,)
        self._sink = sink
        self._metrics = metrics
        self._changed = asyncio.Event()
        self._good: Mapping[str, Good] = {}
        self._problems: Mapping[str, tuple[str, ...]] = {}
        self._delivered: RouteTable | None = None

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with connect(self._configuration) as api, asyncio.TaskGroup() as group:
            models = [self._mirror(api, MODELS, place, resource_of) for place in self._namespaces]
            slices = [self._mirror(api, SLICES, place, slice_of) for place in self._namespaces]
            secrets = SecretReader(api, self._changed.set, self._metrics)
            for run in (*(m.run for m in models), *(s.run for s in slices), secrets.run):
                group.create_task(run())
            group.create_task(self._deliver(models, slices, secrets))

    def _mirror(
        self, api: KubeApi, kind: Kind, namespace: str | None, read: Callable[[Object], T]
    ) -> Reflector[T]:
        return Reflector(api, kind, namespace, read, self._changed.set, self._metrics)

    async def _deliver(
        self,
        models: Sequence[Reflector[Resource]],
        slices: Sequence[Reflector[Slice]],
        secrets: SecretReader,
    ) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(GATHER_S)
            self._changed.clear()
            if not all([*(m.is_listed for m in models), *(s.is_listed for s in slices)]):
                continue  # A part of the cluster would look as if the rest had been deleted.
            try:
                await self._assemble(models, slices, secrets)
            except Exception:  # The outer loop: log, go on with the next change.
                log.exception("source failed")

    async def _assemble(
        self,
        models: Sequence[Reflector[Resource]],
        slices: Sequence[Reflector[Slice]],
        secrets: SecretReader,
    ) -> None:
        resources = [item for mirror in models for item in mirror.items.values()]
        secrets.want(references(resources))
        # PERF: a thousand models take 80 ms of a core; streams should not wait for that.
        found = await asyncio.to_thread(
            assemble,
            resources,
            [item for mirror in slices for item in mirror.items.values()],
            dict(secrets.keys),
            self._good,
        )
        self._obey(found, sum(1 for item in secrets.keys.values() if item.trouble))

    def _obey(self, found: Assembly, keys_troubled: int) -> None:
        self._metrics.models_troubled.set(len(found.problems))
        self._metrics.keys_troubled.set(keys_troubled)
        self._tell(found.problems)
        self._good = found.good
        if found.table != self._delivered and self._sink(found.table):
            self._delivered = found.table

    def _tell(self, problems: Mapping[str, tuple[str, ...]]) -> None:
        """Log what is wrong with a resource once, and once that nothing is any more."""
        for title, said in problems.items():
            if self._problems.get(title) != said:
                log.warning(
                    "model cannot be obeyed as it is", resource=title, reason="; ".join(said)
                )
        for title in self._problems.keys() - problems.keys():
            log.info("model can be obeyed again", resource=title)
        self._problems = problems
