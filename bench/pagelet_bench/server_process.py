"""Starts a server to be measured, waits for its first token, reads its memory, stops it.

Any program that serves the OpenAI API on a port can be measured; `{port}` in its command line
becomes a free one.
"""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pagelet_bench.client import Endpoint, new_session
from pagelet_bench.core.errors import UnreachableError
from pagelet_bench.probe import probe

_POLL_S = 0.05
_STOP_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessMemory:
    """Memory of one process, bytes.

    Attributes:
        rss_bytes: Resident, with pages shared with other processes counted in full.
        pss_bytes: Resident, with shared pages divided among their users; these add up.
        peak_rss_bytes: Highest `rss_bytes` so far.
    """

    name: str
    rss_bytes: int
    pss_bytes: int
    peak_rss_bytes: int


@dataclass(frozen=True, slots=True)
class StartedServer:
    """A server that answers.

    Attributes:
        first_token_s: Seconds from starting the process to the end of its first completion, which
            is two tokens long.
    """

    pid: int
    url: str
    endpoint: Endpoint
    first_token_s: float


@contextlib.asynccontextmanager
async def started_server(
    command: list[str], *, model: str | None, log: IO[bytes], timeout_s: float
) -> AsyncIterator[StartedServer]:
    """Run `command` until the block ends; its output goes to `log`.

    Raises:
        UsageError: It does not serve `model`.
        UnreachableError: It cannot be started, exits, or does not complete a request within
            `timeout_s` seconds.
    """
    port = free_port()
    arguments = [part.replace("{port}", str(port)) for part in command]
    began_s = time.monotonic()
    # A session of its own, so that one signal reaches what it starts, too, and Ctrl-C only us.
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments, stdout=log, stderr=asyncio.subprocess.STDOUT, start_new_session=True
        )
    except OSError as error:
        raise UnreachableError(f"{arguments[0]} cannot be started: {error.strerror}.") from None
    try:
        url = f"http://127.0.0.1:{port}"
        endpoint = await _first_answer(process, url, model, timeout_s)
        yield StartedServer(process.pid, url, endpoint, time.monotonic() - began_s)
    finally:
        await _stop(process)


def free_port() -> int:
    """Find a TCP port nobody listens on now."""
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
        return int(probe_socket.getsockname()[1])


def tree_memory(pid: int) -> list[ProcessMemory]:
    """Read the memory of a process and all its descendants; those that just ended are left out."""
    parents = {child: parent for child in _pids() if (parent := _parent(child)) is not None}
    tree = {pid}
    while grown := {child for child, parent in parents.items() if parent in tree} - tree:
        tree |= grown
    return [memory for member in sorted(tree) if (memory := _memory(member)) is not None]


async def _first_answer(
    process: asyncio.subprocess.Process, url: str, model: str | None, timeout_s: float
) -> Endpoint:
    deadline_s = time.monotonic() + timeout_s
    async with new_session(None) as session:
        while True:
            try:
                return await probe(session, url, model, timeout_s=timeout_s)
            except UnreachableError as error:
                if process.returncode is not None:
                    raise UnreachableError(
                        f"the server exited with {process.returncode}."
                    ) from None
                if time.monotonic() > deadline_s:
                    raise UnreachableError(f"no answer in {timeout_s:g} s: {error}") from None
            await asyncio.sleep(_POLL_S)


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End the process with time to drain, then whatever is left of its session."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _parent(pid: int) -> int | None:
    fields = _fields(Path(f"/proc/{pid}/status"))
    return int(fields["PPid"]) if "PPid" in fields else None


def _memory(pid: int) -> ProcessMemory | None:
    status = _fields(Path(f"/proc/{pid}/status"))
    shares = _fields(Path(f"/proc/{pid}/smaps_rollup"))
    if "VmRSS" not in status or "Pss" not in shares:
        return None
    return ProcessMemory(
        name=status["Name"],
        rss_bytes=_bytes(status["VmRSS"]),
        pss_bytes=_bytes(shares["Pss"]),
        peak_rss_bytes=_bytes(status["VmHWM"]),
    )


def _fields(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.partition(":") for line in lines)
    return {name: value.strip() for name, _, value in pairs}


def _bytes(kilobytes: str) -> int:
    return int(kilobytes.removesuffix("kB")) * 1024
