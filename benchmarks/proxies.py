"""The proxies that are compared: the gateway and nginx, each a process on one core."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

PROXY_CORE, LOAD_CORE = 0, 1
"""With two cores or more the proxies own the first one, the load the second."""

KEY = "key-of-the-measured-tenant"
OPEN_MODEL, GOVERNED_MODEL = "m", "q"
"""The second has tenants with quotas of all kinds, none of which is reached."""

START_S = 20.0
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream engine {{ server 127.0.0.1:{engine}; keepalive 256; }}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location / {{
      proxy_pass http://engine; proxy_http_version 1.1; proxy_buffering off;
      proxy_set_header Connection "";
    }}
  }}
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def pin(pid: int, core: int) -> None:
    """Bind a process to one core, where there are at least two."""
    if (os.cpu_count() or 1) > 1:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(pid, {core})


class Proxy:
    """A proxy process that listens."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.port = port
        self._process = process

    def pids(self) -> list[int]:
        """The process and its children."""
        pid = self._process.pid
        path = Path(f"/proc/{pid}/task/{pid}/children")
        return [pid, *map(int, path.read_text().split())]

    def cpu_s(self) -> float:
        """CPU time used so far, user and system, seconds."""
        threads = (path for pid in self.pids() for path in Path(f"/proc/{pid}/task").iterdir())
        return sum(int((path / "schedstat").read_text().split()[0]) for path in threads) / 1e9

    def rss_mib(self) -> float:
        """Resident memory, MiB."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.pids())
        return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()


@contextlib.contextmanager
def gateway(folder: Path, engine_port: int) -> Iterator[Proxy]:
    """The gateway in front of an engine."""
    port, table = free_port(), folder / "routes.json"
    table.write_text(json.dumps(route_table(f"http://127.0.0.1:{engine_port}")))
    command = [sys.executable, "-m", "pagelet", "gateway", "--route-table", str(table)]
    log = (folder / "gateway.log").open("wb")
    process = subprocess.Popen([*command, "--port", str(port)], stdout=log, stderr=log)
    with _running(Proxy(process, port)) as proxy:
        _wait_ready(f"http://127.0.0.1:{port}/readyz")
        yield proxy


@contextlib.contextmanager
def nginx(folder: Path, engine_port: int) -> Iterator[Proxy]:
    """nginx with one worker in front of an engine, without buffering."""
    port, config = free_port(), folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, engine=engine_port))
    command = [shutil.which("nginx") or "nginx", "-p", str(folder), "-c", str(config)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    with _running(Proxy(process, port)) as proxy:
        yield proxy


@contextlib.contextmanager
def _running(proxy: Proxy) -> Iterator[Proxy]:
    try:
        wait_for(proxy.port)
        for pid in proxy.pids():
            pin(pid, PROXY_CORE)
        yield proxy
    finally:
        proxy.stop()


def route_table(url: str) -> dict[str, object]:
    """Two models on one engine: one open to all, one with tenants and quotas."""
    quotas = {
        "maxConcurrentRequests": 10**6, "requestsPerMinute": 10**9, "tokensPerMinute": 2**31 - 1,
    }  # fmt: skip
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    governed = {
        "limits": {**quotas, "maxOutputTokens": 4096},
        "tenants": [{"name": "t", "keys": [{"sha256": digest}], **quotas}],
    }
    return {
        "schemaVersion": 1,
        "models": [_route(OPEN_MODEL, url), {**_route(GOVERNED_MODEL, url), **governed}],
    }


def _route(name: str, url: str) -> dict[str, object]:
    revision = {"name": f"{name}-1", "role": "stable", "weight": 100, "endpoints": [{"url": url}]}
    return {"name": name, "resource": f"d/{name}", "generation": 1, "revisions": [revision]}


def wait_for(port: int) -> None:
    """Return when something listens."""
    last_at = time.monotonic() + START_S
    while time.monotonic() < last_at:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"nothing listens on port {port} after {START_S:g} s")


def _wait_ready(url: str) -> None:
    last_at = time.monotonic() + START_S
    while time.monotonic() < last_at:
        with contextlib.suppress(OSError), urllib.request.urlopen(url) as answer:
            if answer.status == 200:
                return
        time.sleep(0.05)
    raise SystemExit(f"{url} does not answer 200 after {START_S:g} s")
