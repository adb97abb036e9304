from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from gateway_process import WAIT_S, GatewayProcess


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """One gateway per test module; each test writes its own table."""
    with GatewayProcess(tmp_path_factory.mktemp("gateway")) as process:
        yield process
        assert process.stop() == 0
        assert process.log("bug") == []


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=WAIT_S)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as made:
        yield made
