"""A real Kubernetes control plane for tests: etcd, API server and controller manager.

Started from the binaries in KUBEBUILDER_ASSETS, on loopback and free ports, with state in a
temporary folder. There is no node: nothing starts pods, so tests set pod status themselves.
"""

import functools
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from ssl import CERT_NONE, PROTOCOL_TLS_CLIENT, SSLContext
from typing import Any

START_TIMEOUT_S = 90.0
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
"""


def assets() -> Path | None:
    """Return the folder with the control plane's binaries, or None."""
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    return Path(folder) if folder else None


@dataclass(frozen=True)
class Cluster:
    """A running control plane and how to talk to it as its administrator."""

    server: str
    token: str
    kubeconfig: Path
    operator_kubeconfig: Path
    """Of a user of its own, `operator`, so that its writes can be told from the cluster's."""
    audit_log: Path
    bin: Path
    api: "Restartable"

    def kubectl(self, *args: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl as the administrator; return its output (with stderr if unchecked)."""
        done = subprocess.run(
            [self.bin / "kubectl", f"--kubeconfig={self.kubeconfig}", *args],
            input=stdin, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(args)}: {done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def request(
        self, method: str, path: str, body: object = None, *, kind: str = "application/json"
    ) -> tuple[int, Any]:
        """Send one request as the administrator; return status and decoded body."""
        return request(self.server, self.token, method, path, body, kind=kind)

    def get(self, path: str) -> Any:
        """Return the object at `path`; fails the test if it is not there."""
        status, body = self.request("GET", path)
        assert status == 200, body
        return body

    def answers(self, user: str) -> set[tuple[str, str, int]]:
        """Return what `user` asked so far as verb, path and status, from the audit log."""
        found = set()
        for line in self.audit_log.read_text().splitlines():
            event = json.loads(line)
            if event["user"]["username"] == user and "responseStatus" in event:
                path = event["requestURI"].split("?")[0]
                found.add((event["verb"], path, event["responseStatus"]["code"]))
        return found

    def writes(self, user: str) -> list[str]:
        """Return what `user` wrote so far, `verb path` each, from the server's audit log."""
        found = []
        for line in self.audit_log.read_text().splitlines():
            event = json.loads(line)
            changing = event["verb"] in ("create", "update", "patch", "delete", "deletecollection")
            if event["user"]["username"] == user and changing:
                found.append(f"{event['verb']} {event['requestURI'].split('?')[0]}")
        return found

    def start_api(self) -> None:
        """Start the API server again after `api.stop()`, and wait until it answers.

        On the main thread: the kernel ends the server with the thread that started it.
        """
        self.api.start()
        _wait_ready(self, self.api.process, self.audit_log.with_name("api.log"))

    def write_kubeconfig(self, path: Path, token: str) -> Path:
        """Write a kubeconfig for the user of `token`."""
        path.write_text(_kubeconfig(self.server, token))
        return path


class Restartable:
    """A process of the control plane that a test may stop and start again."""

    def __init__(self, folder: Path, name: str, command: list[str]) -> None:
        self._folder, self._name, self._command = folder, name, command
        self._running = ExitStack()

    def start(self) -> None:
        self.process = self._running.enter_context(
            _process(self._folder, self._name, self._command)
        )

    def stop(self) -> None:
        """Stop it if it runs."""
        self._running.close()


def request(
    server: str,
    token: str,
    method: str,
    path: str,
    body: object = None,
    *,
    kind: str = "application/json",
) -> tuple[int, Any]:
    """Send one request; return status and decoded body."""
    call = urllib.request.Request(server + path, method=method)
    call.add_header("Authorization", f"Bearer {token}")
    data = None
    if body is not None:
        call.add_header("Content-Type", kind)
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    context = _trusting()
    try:
        with urllib.request.urlopen(call, data, timeout=30, context=context) as answer:
            return answer.status, _decoded(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _decoded(error.read())


@functools.cache
def _trusting() -> SSLContext:
    """One for all requests: to read the system's certificates costs more than a request."""
    context = SSLContext(PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, CERT_NONE
    return context


@contextmanager
def running(
    folder: Path, binaries: Path, establish: Callable[[Cluster], None]
) -> Iterator[Cluster]:
    """Start a control plane under `folder`; it has ended when the context has.

    Args:
        folder: For keys, logs and etcd's data.
        binaries: Where etcd, kube-apiserver and the others are.
        establish: Creates CRDs. Called before the controller manager starts, whose garbage
            collector looks for new kinds every 30 s only.
    """
    token = secrets.token_hex(16)
    client, peer, secure, manager = _free_ports(4)
    server = f"https://127.0.0.1:{secure}"
    other = secrets.token_hex(16)
    (folder / "tokens.csv").write_text(
        f'{token},admin,admin,"system:masters"\n{other},operator,operator,"system:masters"\n'
    )
    (folder / "audit.yaml").write_text(AUDIT_POLICY)
    (folder / "kubeconfig").write_text(_kubeconfig(server, token))
    (folder / "operator").write_text(_kubeconfig(server, other))
    _service_account_key(folder / "sa.key")
    with ExitStack() as stack:
        stack.enter_context(_process(folder, "etcd", _etcd(binaries, folder, client, peer)))
        api = Restartable(folder, "api", _api_server(binaries, folder, client, secure))
        stack.callback(api.stop)
        api.start()
        cluster = Cluster(
            server,
            token,
            folder / "kubeconfig",
            folder / "operator",
            folder / "audit.log",
            binaries,
            api,
        )
        _wait_ready(cluster, api.process, folder / "api.log")
        establish(cluster)
        if (binaries / "kube-controller-manager").exists():
            command = _controller_manager(binaries, folder, manager)
            stack.enter_context(_process(folder, "manager", command))
            _wait_for_default_account(cluster)
        yield cluster


def _etcd(binaries: Path, folder: Path, client: int, peer: int) -> list[str]:
    own, peers = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    return [
        str(binaries / "etcd"), f"--data-dir={folder / 'etcd'}", "--unsafe-no-fsync",
        f"--listen-client-urls={own}", f"--advertise-client-urls={own}",
        f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
    ]  # fmt: skip


def _api_server(binaries: Path, folder: Path, etcd: int, port: int) -> list[str]:
    return [
        str(binaries / "kube-apiserver"), f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={port}",
        f"--cert-dir={folder / 'certs'}", f"--token-auth-file={folder / 'tokens.csv'}",
        f"--service-account-key-file={folder / 'sa.key'}",
        f"--service-account-signing-key-file={folder / 'sa.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16",
        f"--audit-policy-file={folder / 'audit.yaml'}",
        f"--audit-log-path={folder / 'audit.log'}", "--audit-log-mode=blocking-strict",
        # The endpoint reconciler refuses to advertise loopback, and nothing here needs it.
        "--endpoint-reconciler-type=none",
    ]  # fmt: skip


def _controller_manager(binaries: Path, folder: Path, port: int) -> list[str]:
    return [
        str(binaries / "kube-controller-manager"), f"--kubeconfig={folder / 'kubeconfig'}",
        "--leader-elect=false", "--bind-address=127.0.0.1", f"--secure-port={port}",
        f"--service-account-private-key-file={folder / 'sa.key'}",
        "--use-service-account-credentials=false",
    ]  # fmt: skip


@contextmanager
def _process(folder: Path, name: str, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    # The wrapper ends the child when the test run dies, even if that was by SIGKILL.
    guard = (
        "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"
    )
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", guard, *command],
            stdout=log, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_ready(cluster: Cluster, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"kube-apiserver ended early:\n{log.read_text()[-2000:]}")
        try:
            if cluster.request("GET", "/readyz")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"kube-apiserver is not ready:\n{log.read_text()[-2000:]}")


def _wait_for_default_account(cluster: Cluster) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    path = "/api/v1/namespaces/default/serviceaccounts/default"
    while cluster.request("GET", path)[0] != 200:
        if time.monotonic() > deadline:
            raise RuntimeError("the controller manager made no default ServiceAccount")
        time.sleep(0.1)


def _service_account_key(path: Path) -> None:
    subprocess.run(
        ["openssl", "genrsa", "-out", str(path), "2048"], check=True, capture_output=True
    )


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [int(item.getsockname()[1]) for item in sockets]


def _kubeconfig(server: str, token: str) -> str:
    return json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [
            {"name": "test", "cluster": {"server": server, "insecure-skip-tls-verify": True}}
        ],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    })  # fmt: skip


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode("utf-8", "replace")
