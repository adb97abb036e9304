"""The control socket of a running `pagelet up`: how rollouts stand, and commands to them.

One JSON object per line and connection, in a Unix socket in the state folder, which only its user
can enter. A request is `{"name": ..., "command": ...}`; without a command it only asks. The answer
is `{"status": ...}`, or `{"error": ...}` with a sentence.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from pagelet_operator.api.rollout_text import RolloutError

SOCKET = "control.sock"

MAX_LINE = 1 << 20
"""Bytes of a request or an answer; a status with a thousand tenants has 200 kB."""

ANSWER_S = 10.0
"""Longest wait for an answer, seconds; a turn of the loop takes milliseconds."""

MAX_SOCKET_PATH = 100
"""Bytes of a socket's path that every system takes (Linux: 107)."""

Handler = Callable[[str, str | None], Awaitable[Mapping[str, Any]]]
"""From a model's name, and a command or None, to its status.

Raises:
    RolloutError: There is no such model.
"""


@asynccontextmanager
async def listening(state_dir: Path, handler: Handler) -> AsyncIterator[None]:
    """Answer requests until the block ends."""
    path = state_dir / SOCKET
    path.unlink(missing_ok=True)  # an earlier run's: the folder is ours alone

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                answer = await _answer(reader, handler)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        writer.close()

    with _reachable(path) as short:
        server = await asyncio.start_unix_server(serve, short, limit=MAX_LINE)
    os.chmod(path, 0o600)
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


async def _answer(reader: asyncio.StreamReader, handler: Handler) -> dict[str, Any]:
    try:
        request = json.loads(await reader.readline())
        name, command = str(request["name"]), request.get("command")
    except (ValueError, KeyError, TypeError, AttributeError):
        return {"error": "a request is one line of JSON with `name`, and `command` or none"}
    try:
        return {"status": dict(await handler(name, None if command is None else str(command)))}
    except RolloutError as error:
        return {"error": str(error)}


async def ask(state_dir: Path, name: str, command: str | None = None) -> dict[str, Any]:
    """Ask the `pagelet up` that holds a state folder.

    Raises:
        RolloutError: It has no such model; the message names those it has.
        OSError: Nobody listens there.
        TimeoutError: It does not answer.
    """
    async with asyncio.timeout(ANSWER_S):
        with _reachable(state_dir / SOCKET) as short:
            reader, writer = await asyncio.open_unix_connection(short, limit=MAX_LINE)
        try:
            writer.write(json.dumps({"name": name, "command": command}).encode() + b"\n")
            line = await reader.readline()
        finally:
            writer.close()
    answer: dict[str, Any] = json.loads(line) if line else {"error": "it ended before it answered"}
    if "error" in answer:
        raise RolloutError(answer["error"])
    return dict(answer["status"])


@contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """Yield a path of the socket that is short enough for the system."""
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
