"""A real Valkey or Redis server for tests, if one is installed."""

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

PROGRAMS = ("valkey-server", "redis-server")
WAIT_S = 20.0


def program() -> str:
    """The server's program; skips the test without one."""
    for name in PROGRAMS:
        if shutil.which(name):
            return name
    pytest.skip("needs valkey-server or redis-server on PATH, such as Debian's redis-server")


class StoreServer:
    """A server on a free port that keeps nothing on disk; `with StoreServer(tmp_path)`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._program = program()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> "StoreServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start, again on the same port, and wait until it takes connections."""
        self.process = subprocess.Popen(
            [
                self._program, "--port", str(self.port), "--bind", "127.0.0.1",
                "--save", "", "--appendonly", "no", "--dir", str(self._folder),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        deadline = time.monotonic() + WAIT_S
        for line in self.process.stdout:
            if "eady to accept connections" in line:
                return
            assert time.monotonic() < deadline, line
        raise AssertionError("the store ended before it was ready")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
