"""A TCP relay that passes each answer on later, so that a good engine looks like a slow one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


@asynccontextmanager
async def slow_relay(url: str, delay_s: float) -> AsyncIterator[str]:
    """Yield the address of a relay that holds what the server at `url` says for `delay_s`.

    What is said in one go is held once, so every token of a stream comes that much later than
    the one before it.
    """
    parts = urlsplit(url)

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hold: float) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if hold:
                    await asyncio.sleep(hold)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection(parts.hostname, parts.port)
        await asyncio.gather(copy(reader, forth, 0.0), copy(back, writer, delay_s))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
