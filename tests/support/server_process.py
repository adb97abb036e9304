"""Starts `pagelet serve` as a real process, with the echoing engine or the real one.

Progress is read from its log on stderr, so nothing here sleeps.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Queue
from typing import Any

ECHO_SERVER = """
import json, sys
from pagelet_engine.config import EngineConfig, ServerConfig
from pagelet_engine.server.run import serve
model, listen, command = json.loads(sys.argv[1])
raise SystemExit(serve(EngineConfig(**model), ServerConfig(**listen), command))
"""
PATIENCE_S = 60


class ServerProcess:
    """A running server and its log."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )
        self.lines: list[str] = []
        self._events: Queue[dict[str, Any]] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if line.startswith("{"):
                self._events.put(json.loads(line))
        self._events.put({"event": "end of log"})

    def wait_for(self, event: str) -> dict[str, Any]:
        """Read the log up to `event` and return it."""
        while True:
            seen = self._events.get(timeout=PATIENCE_S)
            if seen["event"] == event:
                return seen
            if seen["event"] == "end of log":
                raise AssertionError(f"no {event!r} in the log:\n{''.join(self.lines)}")

    def wait_listening(self) -> str:
        """Return the base URL as soon as the server listens."""
        self.url: str = self.wait_for("listening")["address"]
        return self.url

    def wait_ready(self) -> str:
        """Return the base URL once requests are taken."""
        self.url = self.wait_for("ready")["address"]
        return self.url

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the API process only."""
        self.process.send_signal(number)

    def exit_code(self) -> int:
        """Wait for the end."""
        code = self.process.wait(timeout=PATIENCE_S)
        self._reader.join(timeout=PATIENCE_S)
        return code

    def children(self) -> list[int]:
        """Return the process ids of the server's children but the one that renders templates."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as stat:
                        fields = stat.read().rpartition(")")[2].split()
                except OSError:
                    continue
                is_child = int(fields[1]) == self.process.pid and fields[0] != "Z"
                if is_child and not _runs(entry, "pagelet_engine.templates.worker"):
                    found.append(int(entry))
        return found

    def close(self) -> None:
        """Make sure nothing is left behind."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=PATIENCE_S)
        self._reader.join(timeout=PATIENCE_S)
        if self.process.stderr is not None:
            self.process.stderr.close()


def _runs(pid: str, module: str) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as command:
            return module.encode() in command.read().split(b"\0")
    except OSError:
        return False


def echo_command(*engine_arguments: str) -> list[str]:
    """Return the command of an engine process that repeats prompts."""
    return [sys.executable, "-m", "pagelet_engine.testing_process", *engine_arguments]


@contextmanager
def echo_server(
    *engine_arguments: str,
    model: dict[str, Any] | None = None,
    listen: dict[str, Any] | None = None,
    command: Sequence[str] | None = None,
) -> Iterator[ServerProcess]:
    """Run a server over the echoing engine; its model is called `echo`."""
    settings = {"model": "dummy://tiny", "served_model_name": "echo"} | (model or {})
    listening = {"port": 0} | (listen or {})
    engine = list(command or echo_command(*engine_arguments))
    server = ServerProcess(
        [sys.executable, "-c", ECHO_SERVER, json.dumps([settings, listening, engine])]
    )
    try:
        yield server
    finally:
        server.close()
