"""A gateway on the test's own event loop, so that its tasks and sockets can be counted."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway_process import WAIT_S, table
from pagelet_gateway.config import GatewayConfig
from pagelet_gateway.server.listener import bind, url_of
from pagelet_gateway.server.run import serve


@asynccontextmanager
async def gateway_in_process(
    folder: Path, *models: dict[str, Any], **settings: Any
) -> AsyncIterator[str]:
    """Serve `models`; yields the URL, and ends by SIGTERM as a process would."""
    path = folder / "routes.json"
    path.write_text(json.dumps(table(*models)))
    config = GatewayConfig(route_table=path, host="127.0.0.1", port=0, **settings)
    listener = bind(config.host, config.port)
    url = url_of(listener)
    serving = asyncio.create_task(serve(config, listener))
    try:
        await asyncio.sleep(0)
        yield url
    finally:
        while not serving.done():
            os.kill(os.getpid(), signal.SIGTERM)
            async with asyncio.timeout(WAIT_S):
                await asyncio.wait({serving})
        assert serving.result() == 0


def num_sockets() -> int:
    """Sockets this process has open."""
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found += os.readlink(entry).startswith("socket:")
        except OSError:
            continue
    return found
