"""The operator as a process: connects, checks, starts the loop, the watches and the port."""

import asyncio
import logging
import signal
import socket
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

import kopf
from kubernetes.aio.config import ConfigException

from pagelet_operator.kube import handlers, health
from pagelet_operator.kube.api import MODEL_DEPLOYMENTS, Api, ApiError, connect, load_configuration
from pagelet_operator.kube.engine_keys import EngineKeys
from pagelet_operator.kube.gate_jobs import JobGates
from pagelet_operator.kube.gateways import GatewayPods
from pagelet_operator.kube.lease import Lease, work_while_held
from pagelet_operator.kube.loop import Controller
from pagelet_operator.kube.metrics import Metrics
from pagelet_operator.kube.runtime import KubeRuntime
from pagelet_operator.senses import Senses
from pagelet_operator.telemetry.prometheus import PrometheusTelemetry
from pagelet_operator.telemetry.scrape import Scraper

log = logging.getLogger(__name__)

_Source = Scraper | PrometheusTelemetry


class SetupError(Exception):
    """The operator cannot run as it is set up; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How one operator process runs."""

    namespace: str | None
    """The namespace it serves; None for all."""
    kubeconfig: str | None
    """File that says how to reach the cluster; None for the pod's own account or KUBECONFIG."""
    engine_image: str
    """Image of engines whose spec names none."""
    gate_image: str
    """Image with `pagelet gate`, which tries canaries."""
    gateway_url: str
    """Where clients reach the gateway, as status says it."""
    gateway_namespace: str
    """Where the gateways' pods are, whose metrics say what users feel."""
    prometheus_url: str | None = None
    """A Prometheus server that reads the gateways; None to read them here."""
    health_host: str
    """Address of the health port."""
    health_port: int
    """Port of /healthz, /readyz and /metrics; 0 takes a free one."""
    lease: tuple[str, str] | None = None
    """Namespace and name of the Lease by which one of several works; None for a lone operator."""


async def run(options: Options) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        SetupError: No cluster is configured or answers, it has no ModelDeployments, or the
            health port is taken.
        LeaseLostError: Another operator works now.
    """
    try:
        configuration = await load_configuration(options.kubeconfig)
    except (ConfigException, OSError) as error:
        raise SetupError(f"{error}; give --kubeconfig, or run inside a cluster") from error
    async with connect(configuration) as api:
        await _check(api)
        metrics = Metrics()
        runtime = KubeRuntime(api, engine_image=options.engine_image)
        keys = EngineKeys(api, time.monotonic)
        source = _source(api, keys, options)
        controller = Controller(
            api,
            runtime,
            metrics,
            namespace=options.namespace,
            gateway_url=options.gateway_url,
            senses=Senses(telemetry=source, gates=JobGates(api, options.gate_image)),
        )
        lease = _lease(api, options)
        standing_by = partial(_stands_by, lease)
        metrics.works_while(lambda: not standing_by())
        try:
            async with (
                source,
                health.serving(
                    controller,
                    metrics,
                    options.health_host,
                    options.health_port,
                    standing_by=standing_by,
                ) as port,
            ):
                log.info("health port %d", port)
                await _in_turn(lease, lambda: _serve(controller, source, keys, options))
        except OSError as error:
            raise SetupError(
                f"health port {options.health_port}: {error.strerror}; give another --health-port"
            ) from error


def _source(api: Api, keys: EngineKeys, options: Options) -> _Source:
    if options.prometheus_url is not None:
        return PrometheusTelemetry(options.prometheus_url, time.time)
    gateways = GatewayPods(api, options.gateway_namespace)
    return Scraper(gateways, time.time, engine_key=keys)


async def _check(api: Api) -> None:
    try:
        known = await api.exists(f"/apis/{MODEL_DEPLOYMENTS.api_version}")
    except ApiError as error:
        raise SetupError(f"the API server does not answer: {error}") from error
    if not known:
        raise SetupError(
            "the cluster has no ModelDeployments; run: pagelet crd | kubectl apply --server-side "
            "-f -"
        )


async def _in_turn(lease: Lease | None, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work; where several operators share a Lease, while this one holds it."""
    if lease is None:
        await work()
    elif await _until_signalled(lease.acquire()):
        await work_while_held(lease, work)


def _lease(api: Api, options: Options) -> Lease | None:
    if options.lease is None:
        return None
    # A pod's name alone would be its predecessor's too, if the container is started again.
    return Lease(api, *options.lease, f"{socket.gethostname()}_{uuid.uuid4().hex[:12]}")


def _stands_by(lease: Lease | None) -> bool:
    return lease is not None and not lease.held


async def _until_signalled(waiting: Coroutine[Any, Any, None]) -> bool:
    """Wait, and say whether what was waited for came before SIGTERM or SIGINT did.

    As a container's first process it would not end by these signals on its own.
    """
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(waiting)
    caught = (signal.SIGTERM, signal.SIGINT)
    for number in caught:
        loop.add_signal_handler(number, task.cancel)
    try:
        await asyncio.wait({task})
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
        task.cancel()
    if task.cancelled():
        return False
    task.result()
    return True


async def _serve(
    controller: Controller, source: _Source, keys: EngineKeys, options: Options
) -> None:
    """Run the loop and the readings beside the watches; when one ends, so do the others."""
    loop = asyncio.create_task(_work(controller, source, keys))
    stop = asyncio.Event()
    loop.add_done_callback(lambda _: stop.set())
    try:
        await kopf.operator(
            registry=handlers.registry(
                controller.wake,
                controller.queue.add,
                lambda: load_configuration(options.kubeconfig),
            ),
            settings=handlers.settings(),
            standalone=True,
            clusterwide=options.namespace is None,
            namespaces=[options.namespace] if options.namespace else [],
            stop_flag=stop,
        )
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
    if not loop.cancelled():
        loop.result()


async def _work(controller: Controller, source: _Source, keys: EngineKeys) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(keys.run())
        group.create_task(source.run())
        group.create_task(controller.run())
