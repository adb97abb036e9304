"""What the gateway costs, beside a direct connection and beside nginx as a plain proxy.

    python benchmarks/gateway.py [--streams 200] [--seconds 6] [--output FILE]

On one machine: an engine that writes time-stamped events, the proxy, and this process, which
reads them directly and through each proxy in turn, in the same run. With two cores or more the
proxies own the first one, engine and reader share the second. "Per core" divides by the proxy's
own CPU time. Prints one JSON object.

    latency   200 streams of 10 events a second, begun at different times
    rate      200 streams of 100 events a second: 20,000 a second through one core
    burst     200 streams of 10 events a second, all of them in the same step
    flood     as fast as the proxy reads
    memory    resident, idle and with 1,000 open streams
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop
from relay_load import Load, read_streams

SPREAD_S = 1.0
"""Streams begin over this time: the bar is for open streams, not for a burst of new ones."""

ROUNDS = 3
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location / {{
      proxy_pass http://127.0.0.1:{engine}; proxy_http_version 1.1; proxy_buffering off;
    }}
  }}
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise SystemExit(f"nothing listens on port {port}")


def pin(pid: int, core: int) -> None:
    """Bind a process to one core, where there are at least two."""
    if len(os.sched_getaffinity(0)) > 1 or core:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(pid, {core})


class Proxy:
    """A proxy process, and the engine behind it."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], port: int) -> None:
        self.name = name
        self.process = process
        self.port = port

    def pids(self) -> list[int]:
        """The process and its children."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [self.process.pid, *map(int, path.read_text().split())]

    def cpu_s(self) -> float:
        """CPU time used so far, user and system, seconds."""
        total = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    def rss_mib(self) -> float:
        """Resident memory, MiB."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.pids())
        return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


@contextlib.contextmanager
def engine(interval_s: float, num_events: int) -> Iterator[int]:
    """An engine on a port of its own."""
    port = free_port()
    program = str(Path(__file__).parent / "relay_load.py")
    process = subprocess.Popen(
        [sys.executable, program, str(port), str(interval_s), str(num_events)]
    )
    pin(process.pid, 1)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def gateway(folder: Path, engine_port: int) -> Iterator[Proxy]:
    """The gateway in front of that engine."""
    port, table = free_port(), folder / "routes.json"
    revision = {
        "name": "m-1", "role": "stable", "weight": 100,
        "endpoints": [{"url": f"http://127.0.0.1:{engine_port}"}],
    }  # fmt: skip
    model = {"name": "m", "resource": "default/m", "generation": 1, "revisions": [revision]}
    table.write_text(json.dumps({"schemaVersion": 1, "models": [model]}))
    command = [sys.executable, "-m", "pagelet", "gateway", "--route-table", str(table)]
    process = subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.DEVNULL)
    yield from _running(Proxy("gateway", process, port))


@contextlib.contextmanager
def nginx(folder: Path, engine_port: int) -> Iterator[Proxy]:
    """nginx with one worker in front of that engine."""
    port, config = free_port(), folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, engine=engine_port))
    command = [shutil.which("nginx") or "nginx", "-p", str(folder), "-c", str(config)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    yield from _running(Proxy("nginx", process, port))


def _running(proxy: Proxy) -> Iterator[Proxy]:
    try:
        time.sleep(1.5)
        for pid in proxy.pids():
            pin(pid, 0)
        yield proxy
    finally:
        proxy.stop()


async def load_of(proxy: Proxy, streams: int, spread_s: float) -> dict[str, object]:
    """One run through a proxy, with the CPU it took."""
    await wait_for(proxy.port)
    before_s = proxy.cpu_s()
    load = await read_streams(proxy.port, streams, spread_s)
    return with_cpu(load, proxy.cpu_s() - before_s)


def with_cpu(load: Load, used_s: float) -> dict[str, object]:
    report: dict[str, object] = dict(load.report())
    report["cpu_s"] = round(used_s, 2)
    report["events_per_core_s"] = round(len(load.latencies_s) / max(used_s, 0.01))
    return report


async def compare(interval_s: float, num_events: int, streams: int, spread_s: float) -> object:
    """Direct, nginx and the gateway, one after the other, `ROUNDS` times."""
    rounds = []
    with (
        tempfile.TemporaryDirectory() as folder,
        engine(interval_s, num_events) as port,
        contextlib.ExitStack() as stack,
    ):
        await wait_for(port)
        proxies = [stack.enter_context(gateway(Path(folder), port))]
        if shutil.which("nginx"):
            proxies.append(stack.enter_context(nginx(Path(folder), port)))
        for _ in range(ROUNDS):
            direct = (await read_streams(port, streams, spread_s)).report()
            one: dict[str, object] = {"direct": direct}
            for proxy in proxies:
                through = await load_of(proxy, streams, spread_s)
                through["added_p99_ms"] = round(
                    float(str(through["event_p99_ms"])) - direct["event_p99_ms"], 3
                )
                one[proxy.name] = through
            rounds.append(one)
    return rounds


async def memory(num_streams: int) -> object:
    """Resident memory of the gateway, idle and with many open streams."""
    with tempfile.TemporaryDirectory() as folder, engine(1.0, 8) as port:
        await wait_for(port)
        with gateway(Path(folder), port) as proxy:
            idle_mib = proxy.rss_mib()
            reading = asyncio.create_task(read_streams(proxy.port, num_streams, 3.0))
            await asyncio.sleep(6.0)
            open_mib = proxy.rss_mib()
            load = await reading
            return {
                "idle_mib": idle_mib,
                "open_streams": num_streams,
                "open_mib": open_mib,
                "whole_streams": load.num_whole,
            }


async def measure(streams: int, seconds: float) -> dict[str, object]:
    """Run everything; returns the report."""
    return {
        "latency": await compare(0.1, int(seconds / 0.1), streams, SPREAD_S),
        "rate": await compare(0.01, int(seconds / 0.01), streams, SPREAD_S),
        "burst": await compare(0.1, int(seconds / 0.1), streams, 0.0),
        "flood": await compare(0.0, 1000, streams, 0.0),
        "memory": await memory(1000),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    load_before = os.getloadavg()
    pin(os.getpid(), 1)
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "load_average_before": load_before,
        "streams": options.streams,
        "nginx": bool(shutil.which("nginx")),
        **uvloop.run(measure(options.streams, options.seconds)),
        "load_average_after": os.getloadavg(),
    }
    text = json.dumps(report, indent=2)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
