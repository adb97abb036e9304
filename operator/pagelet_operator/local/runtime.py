"""Replicas as child processes of this one, traffic as a file: `ports.Runtime` on one machine."""

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pagelet_operator.api.resource import template_spec
from pagelet_operator.api.secrets import Secrets
from pagelet_operator.api.spec import ModelDeploymentSpec
from pagelet_operator.core.model import (
    Fleet,
    Model,
    ModelRef,
    Plan,
    RevisionFleet,
    RevisionPlan,
    Role,
    Template,
)
from pagelet_operator.local.devices import roomiest
from pagelet_operator.local.engine_command import EngineCommand, serve
from pagelet_operator.local.probe import Probe
from pagelet_operator.local.process import Command
from pagelet_operator.local.route_file import RouteFile
from pagelet_operator.local.service import (
    KILL_MARGIN_S,
    Listener,
    Service,
    restart_delay_s,
)
from pagelet_operator.ports import UnavailableError

SETTLE_S = 0.5
"""Between a new route table and SIGTERM for a replica that is not in it. The gateway looks at
the file ten times a second; until it has, it may still send requests to that replica."""


SHARED_CORES = {"GOMP_SPINCOUNT": "1000"}
"""How often an idle OpenMP thread looks for work before it sleeps.
PERF: on one machine two revisions share the cores during a rollout, and libgomp's default spins
for milliseconds on a core the other engine needs: 60 against 17 output tok/s (2 Zen 4 cores,
load 3). An engine that has its cores to itself loses 15 % by it (benchmarks/LOG.md), so
`pagelet serve` leaves the default, and whoever sets the variable is obeyed."""


@dataclass(slots=True)
class _Replica:
    service: Service
    gpu: str | None
    gpu_share: float
    """Of that GPU's memory, a ratio."""


@dataclass(slots=True)
class _Revision:
    """One revision's replicas, and what they were made from."""

    template: Template
    role: Role | None = None
    """As of the last plan."""
    replicas: list[_Replica] = field(default_factory=list)
    short: str | None = None
    """What the replicas lack that could not be started, as of the last `apply`."""
    started: int = 0
    """Replicas ever started: numbers the next one, so that no two share a log."""


class ProcessRuntime:
    """Keeps child processes as planned.

    Args:
        routes: Where the route table goes.
        log_dir: Folder of the replicas' logs, `<namespace>/<revision>-<number>.log`.
        probe: How to ask a replica whether it is ready.
        listener: Told of what happens to replicas, as a CamelCase reason and a sentence.
        engine: What to run as a replica.
        gpus: GPUs to share out, one per replica, as far as their memory goes; empty for none.
        env: Environment that replicas inherit; None for this process' own.
        settle_s: Between a new route table and the end of what it no longer names.
        restart_delay: Seconds before a replica starts again after so many exits in a row.
    """

    def __init__(
        self,
        *,
        routes: RouteFile,
        log_dir: Path,
        probe: Probe,
        listener: Listener,
        engine: EngineCommand = serve,
        gpus: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
        settle_s: float = SETTLE_S,
        restart_delay: Callable[[int], float] = restart_delay_s,
    ) -> None:
        self._routes = routes
        self._log_dir = log_dir
        self._probe = probe
        self._listener = listener
        self._engine = engine
        self._gpus = gpus
        self._env = dict(os.environ if env is None else env)
        self._settle_s = settle_s
        self._restart_delay = restart_delay
        self._revisions: dict[ModelRef, dict[str, _Revision]] = {}
        self._traffic: dict[object, Mapping[str, Any]] = {}
        self._told: dict[str, tuple[str, ...]] = {}
        self._closing = asyncio.Event()
        self._ending: dict[asyncio.Task[None], _Replica] = {}

    async def observe(self, ref: ModelRef) -> Fleet:
        """Return every revision of the model that is meant to run here."""
        revisions = self._revisions.get(ref, {})
        return Fleet({name: _observed(name, item) for name, item in revisions.items()})

    async def apply(self, model: Model, plan: Plan) -> int:
        """Start what is missing, publish traffic, then end what is not planned.

        Ending goes on in the background: requests in flight may take as long as they are
        allowed to (`model.request_timeout_s`).

        Raises:
            UnavailableError: The route table cannot be written; nothing was ended.
        """
        revisions = self._revisions.setdefault(model.ref, {})
        writes = sum(self._start_missing(model, item, revisions) for item in plan.revisions)
        self._traffic[model.ref] = plan.traffic
        writes += self._publish()
        return writes + self._end_surplus(plan, revisions, model.request_timeout_s)

    async def remove(self, model: Model) -> int:
        """Make the model as if it had never been: no route, no replica.

        Raises:
            UnavailableError: As `apply`.
        """
        nothing = Plan(revisions=(), traffic={})
        self._traffic.pop(model.ref, None)
        revisions = self._revisions.get(model.ref, {})
        writes = int(self._publish())
        writes += self._end_surplus(nothing, revisions, model.request_timeout_s)
        self._revisions.pop(model.ref, None)
        return writes

    async def close(self, drain_s: float) -> None:
        """End every replica and return once all are gone; at most `drain_s`, then by force."""
        self._closing.set()
        await asyncio.gather(*(replica.service.stop(drain_s) for replica in self._all()))
        if self._ending:
            await asyncio.wait(self._ending)

    def kill(self) -> None:
        """End every replica at once; `close(0)` waits for them."""
        for replica in self._all():
            replica.service.kill()

    def _all(self) -> list[_Replica]:
        revisions = (item for group in self._revisions.values() for item in group.values())
        return [r for item in revisions for r in item.replicas] + list(self._ending.values())

    def _start_missing(
        self, model: Model, item: RevisionPlan, revisions: dict[str, _Revision]
    ) -> int:
        revision = revisions.setdefault(item.revision, _Revision(item.template))
        revision.role = item.role
        missing = max(0, item.replicas - len(revision.replicas))
        revision.short = None
        for started in range(missing):
            replica = self._replica(model, item, revision)
            if replica is None:
                return started
            revision.replicas.append(replica)
        return missing

    def _replica(self, model: Model, item: RevisionPlan, revision: _Revision) -> _Replica | None:
        """Start a replica; None, and `revision.short` says why, where no GPU has room for it."""
        spec = template_spec(item.template)
        env = {**SHARED_CORES, **self._env, **{var.name: var.value for var in spec.pod.env}}
        gpu, share = None, spec.engine.gpu_memory_fraction
        if self._chooses_gpu(spec):
            in_use = [(r.gpu, r.gpu_share) for r in self._all() if r.gpu]
            gpu = roomiest(self._gpus, in_use, share)
            if gpu is None:
                revision.short = (
                    f"none of {len(self._gpus)} GPUs has {share:.0%} of its memory left "
                    f"(engine.gpuMemoryFraction)"
                )
                return None
            env["CUDA_VISIBLE_DEVICES"] = gpu
        name = f"{item.revision}-{revision.started}"
        revision.started += 1
        service = Service(
            name,
            command=lambda port: Command(
                self._engine(spec, model.ref.name, port, model.request_timeout_s), env
            ),
            probe=self._probe,
            probe_path="/readyz",
            log=self._log_dir / model.ref.namespace / f"{name}.log",
            listener=lambda reason, text: self._listener(f"Replica{reason}", text),
            restart_delay=self._restart_delay,
        )
        service.start()
        return _Replica(service, gpu, share)

    def _chooses_gpu(self, spec: ModelDeploymentSpec) -> bool:
        """Whether an engine gets one of our GPUs: not on a CPU, nor where its user chose."""
        chosen = any(var.name == "CUDA_VISIBLE_DEVICES" for var in spec.pod.env)
        return bool(self._gpus) and spec.engine.device != "cpu" and not chosen

    def _publish(self) -> bool:
        try:
            written = self._routes.publish(self._traffic)
        except OSError as error:
            raise UnavailableError(
                f"the route table {self._routes.path} cannot be written: {error.strerror}"
            ) from error
        self._tell_troubles()
        return written

    def use_secrets(self, secrets: Secrets) -> None:
        """Let routes use what these Secrets hold, from the next `apply` on."""
        if self._routes.keys is not None:
            self._routes.keys.use(secrets)

    def _tell_troubles(self) -> None:
        """Say once which keys a route lacks."""
        troubles = dict(self._routes.keys.troubles) if self._routes.keys is not None else {}
        for resource, said in troubles.items():
            if said and said != self._told.get(resource):
                self._listener("KeysMissing", f"{resource}: {'; '.join(said)}")
        self._told = troubles

    def _end_surplus(self, plan: Plan, revisions: dict[str, _Revision], drain_s: float) -> int:
        planned = {item.revision: item for item in plan.revisions}
        ended = 0
        for name, revision in list(revisions.items()):
            surplus = _surplus(revision, planned.get(name))
            revision.replicas = [r for r in revision.replicas if r not in surplus]
            for replica in surplus:
                self._end(replica, drain_s)
            ended += len(surplus)
            if name not in planned:
                del revisions[name]
        return ended

    def _end(self, replica: _Replica, drain_s: float) -> None:
        task = asyncio.create_task(self._settle_and_stop(replica.service, drain_s))
        self._ending[task] = replica
        task.add_done_callback(self._ending.pop)

    async def _settle_and_stop(self, service: Service, drain_s: float) -> None:
        if service.endpoint is not None:  # otherwise no request is on its way to it
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._settle_s)
        self._listener("ReplicaEnding", f"{service.name} finishes its requests and ends")
        await service.stop(drain_s + KILL_MARGIN_S)


def _surplus(revision: _Revision, planned: RevisionPlan | None) -> list[_Replica]:
    """Return the replicas that should end: those not ready first, then as the plan names them."""
    if planned is None:
        return list(revision.replicas)
    order = {endpoint: index for index, endpoint in enumerate(planned.first_out)}

    def turn(replica: _Replica) -> int:
        endpoint = replica.service.endpoint
        return -1 if endpoint is None else order.get(endpoint, len(order))

    # Of equals the youngest: it has the least in its cache.
    youngest_first = sorted(reversed(revision.replicas), key=turn)
    return youngest_first[: max(0, len(revision.replicas) - planned.replicas)]


def _observed(name: str, revision: _Revision) -> RevisionFleet:
    services = [replica.service for replica in revision.replicas]
    for service in services:
        service.check()
    return RevisionFleet(
        revision=name,
        template=revision.template,
        replicas=len(services),
        role=revision.role,
        endpoints=tuple(sorted(s.endpoint for s in services if s.endpoint is not None)),
        failure=next((s.failure for s in services if s.failure is not None), None),
        short=revision.short,
    )
