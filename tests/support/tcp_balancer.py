"""A TCP load balancer for tests: new connections go to the members in turn, bytes pass as they are.

It looks into nothing, as a cluster's Service does; a connection stays with its member until one
of both sides closes it, member or no longer.
"""

import asyncio
import contextlib
from dataclasses import dataclass, field


@dataclass(slots=True)
class Balancer:
    """`async with Balancer() as balancer`; change `members` at any time."""

    members: list[tuple[str, int]] = field(default_factory=list)
    port: int = 0
    num_refused: int = 0
    """Connections that no member took."""
    _turn: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> "Balancer":
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            member = await self._connect()
            if member is None:
                self.num_refused += 1
                return
            try:
                await asyncio.gather(_pipe(reader, member[1]), _pipe(member[0], writer))
            finally:
                member[1].close()
        finally:
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in range(2 * len(self.members)):
            self._turn += 1
            host, port = self.members[self._turn % len(self.members)]
            with contextlib.suppress(OSError):
                return await asyncio.open_connection(host, port)
        return None


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        if writer.can_write_eof():
            writer.write_eof()
