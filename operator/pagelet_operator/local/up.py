"""Puts the parts of `pagelet up` together and runs them."""

import asyncio
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pagelet_operator.local import control
from pagelet_operator.local.devices import visible_gpus
from pagelet_operator.local.engine_command import EngineCommand, pagelet, serving
from pagelet_operator.local.free_port import free_port, is_free
from pagelet_operator.local.gates import ProcessGates
from pagelet_operator.local.notices import Notices
from pagelet_operator.local.probe import HttpProbe, Probe
from pagelet_operator.local.process import Command
from pagelet_operator.local.report import Event, Report
from pagelet_operator.local.route_file import RouteFile
from pagelet_operator.local.route_keys import RouteKeys
from pagelet_operator.local.runtime import ProcessRuntime
from pagelet_operator.local.service import HOST, Service
from pagelet_operator.local.spec_files import SpecFiles
from pagelet_operator.local.supervisor import Supervisor
from pagelet_operator.senses import Senses
from pagelet_operator.telemetry.scrape import Scraper

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104

READING_S = 1.0
"""Between two readings of the metrics: one gateway on the same machine costs a millisecond, and
a window begins that near to its step."""


class AddressError(Exception):
    """The gateway cannot listen where it should; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpConfig:
    """What the user says about one `pagelet up`."""

    files: tuple[Path, ...]
    host: str
    port: int
    """TCP port of the gateway; 0 for a free one."""
    status_port: int | None = None
    """TCP port of the status page and the gateway's /metrics, on loopback whatever `host` is: they
    name every model and tenant. 0 for a free one; None for the one after `port` if that is free."""
    state_dir: Path
    log_dir: Path
    drain_s: float
    engine: EngineCommand | None = None
    """What to run as a replica; None for `pagelet serve`."""


async def run(config: UpConfig, report: Callable[[], Report]) -> int:
    """Serve until a signal; return the exit code.

    Args:
        config: What to run and where.
        report: Makes the report once it is certain that there is something to run.

    Raises:
        InvalidResourceError: The files cannot work.
        AddressError: The port is in use, or the host is not this machine's.
        GatewayFailedError: The gateway cannot start.
    """
    files = SpecFiles(config.files)
    port = _checked_port(config.host, config.port)
    status_port = _status_port(config, port)
    keys = RouteKeys(config.state_dir)
    routes = RouteFile(config.state_dir / "routes.json", keys)
    routes.path.unlink(missing_ok=True)  # an earlier run's: its replicas are gone
    # A key of this run: what an earlier one left running, or told, opens nothing here.
    key = secrets.token_urlsafe(32)
    keys.make_gateway_key(key.encode())
    out = report()
    notices = Notices()
    try:
        async with HttpProbe() as probe:
            gateway = _gateway(config, port, status_port, routes.path, probe, notices)
            async with _reading(gateway, status_port, key) as telemetry, _gates(config) as gates:
                supervisor = Supervisor(
                    files=files,
                    runtime=await _runtime(config, routes, probe, notices),
                    gateway=gateway,
                    notices=notices,
                    report=out,
                    url=f"{_url(config.host, port)}/v1",
                    drain_s=config.drain_s,
                    senses=Senses(telemetry=telemetry, gates=gates),
                )
                _begin(config, supervisor, out, f"{_url(config.host, port)}/v1", status_port)
                async with control.listening(config.state_dir, supervisor.steering.handle):
                    return await supervisor.run()
    finally:
        out.close()


async def _runtime(
    config: UpConfig, routes: RouteFile, probe: Probe, notices: Notices
) -> ProcessRuntime:
    return ProcessRuntime(
        routes=routes,
        log_dir=config.log_dir,
        probe=probe,
        listener=notices,
        engine=config.engine or serving(config.state_dir / "gateway-key"),
        gpus=await asyncio.to_thread(visible_gpus, os.environ),
    )


@asynccontextmanager
async def _reading(gateway: Service, status_port: int, key: str) -> AsyncIterator[Scraper]:
    """Read the metrics of the gateway and the engines for as long as the context lasts."""

    async def gateways() -> Sequence[str]:
        return [_url(HOST, status_port)] if gateway.endpoint is not None else []

    scraper = Scraper(gateways, time.time, engine_key=lambda _: key, interval_s=READING_S)
    async with scraper:
        reading = asyncio.create_task(scraper.run())
        try:
            yield scraper
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


@asynccontextmanager
async def _gates(config: UpConfig) -> AsyncIterator[ProcessGates]:
    """Run gates for as long as the context lasts; none outlives it."""
    key_file = config.state_dir / "gateway-key"
    gates = ProcessGates(config.state_dir / "gates", os.environ, key_file)
    try:
        yield gates
    finally:
        await gates.close()


def _begin(
    config: UpConfig, supervisor: Supervisor, out: Report, url: str, status_port: int
) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.stop)
    status = f"{_url(HOST, status_port)}/"
    message = (
        f"requests go to {url} once a model is ready; {status} shows how models stand; logs are in "
        f"{config.log_dir}"
    )
    logs = str(config.log_dir)
    details = {"url": url, "statusUrl": status, "logDir": logs, "pid": os.getpid()}
    out.event(Event(reason="Starting", message=message, details=details))


def _gateway(
    config: UpConfig, port: int, status_port: int, routes: Path, probe: Probe, notices: Notices
) -> Service:
    return Service(
        "gateway",
        command=lambda chosen: Command(
            pagelet(
                "gateway",
                f"--route-table={routes}",
                f"--host={config.host}",
                f"--port={chosen}",
                f"--metrics-host={HOST}",
                f"--metrics-port={status_port}",
                f"--drain-timeout={config.drain_s:g}",
            ),
            dict(os.environ),
        ),
        probe=probe,
        # Alive, not ready: it is ready only once a model is, and must not be restarted for that.
        probe_path="/livez",
        log=config.log_dir / "gateway.log",
        listener=lambda reason, text: notices(f"Gateway{reason}", text),
        host=_reachable(config.host),
        port=port,
    )


def _status_port(config: UpConfig, port: int) -> int:
    """Return the status page's port, which is not the gateway's."""
    if config.status_port is None:
        after = port + 1 if config.port else 0
        return after if 0 < after < 65536 and is_free(HOST, after) else free_port(HOST)
    if config.status_port == port:
        raise AddressError(f"port {port} is the gateway's; choose another with --status-port")
    return _checked_port(HOST, config.status_port, "--status-port")


def _checked_port(host: str, port: int, option: str = "--port") -> int:
    """Return the port to use, after a look whether it can be had: before anything starts."""
    try:
        if port == 0:
            return free_port(_ANY_ADDRESS.get(host, host))
        free = is_free(host, port)
    except OSError as error:
        raise AddressError(
            f"cannot listen on {host}: {error.strerror}; choose an address of this machine "
            f"with --host"
        ) from None
    if not free:
        raise AddressError(
            f"port {port} on {host} is in use or not allowed; choose another with {option}, "
            f"or end what listens there"
        )
    return port


def _reachable(host: str) -> str:
    """Return where a client on this machine finds a server bound to `host`, for a URL."""
    address = _ANY_ADDRESS.get(host, host)
    return f"[{address}]" if ":" in address else address


def _url(host: str, port: int) -> str:
    return f"http://{_reachable(host)}:{port}"
