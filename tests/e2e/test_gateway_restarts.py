"""200 open streams outlive restarts of every gateway and rolling updates of every engine.

The clients reach two gateway processes through a TCP balancer; behind them are two engines whose
tokens are numbered, so that a lost, doubled or cut one shows.
"""

import asyncio
import os
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import aiohttp

from gateway_process import GatewayProcess, model, table, tokens, until
from gateway_upstream import Upstream, Wire, streams
from tcp_balancer import Balancer

NUM_STREAMS = int(os.environ.get("PAGELET_STREAMS", "200"))
NUM_GATEWAY_RESTARTS = int(os.environ.get("PAGELET_GATEWAY_RESTARTS", "5"))
NUM_ENGINE_UPDATES = int(os.environ.get("PAGELET_ENGINE_UPDATES", "10"))
WORDS = [f"token-{number} " for number in range(20)]


async def engine_script(wire: Wire) -> None:
    if wire.received.path == "/metrics":
        await wire.reply(404, {})
    else:
        await streams(*WORDS, pause_s=0.1)(wire)


class Fleet:
    """The gateways behind the balancer and the engines behind the gateways."""

    def __init__(self, folder, stack: AsyncExitStack, balancer: Balancer) -> None:
        self.gateways: list[GatewayProcess] = []
        self.engines: list[Upstream] = []
        self._folder = folder
        self._stack = stack
        self._balancer = balancer

    async def start(self) -> None:
        for _ in range(2):
            self.engines.append(await self._stack.enter_async_context(Upstream(engine_script)))
        for _ in range(2):
            await self._add_gateway()

    async def restart_gateway(self) -> None:
        """Add a new one, take the oldest out of the balance, and let it drain to its end."""
        await self._add_gateway()
        old = self.gateways.pop(0)
        self._balancer.members.remove(_address(old))
        assert await asyncio.to_thread(old.stop) == 0, "a drain that cut nothing"
        assert old.log("bug") == old.log("answer cut") == []

    async def update_engine(self) -> None:
        """Put a new one in the oldest one's place; that one drains and ends."""
        old = self.engines.pop(0)
        self.engines.append(await self._stack.enter_async_context(Upstream(engine_script)))
        seen = [(gateway, len(gateway.log("route table obeyed"))) for gateway in self.gateways]
        self._write()
        old.is_draining = True  # at once: gateways may still send requests there
        await until(
            lambda: all(
                len(gateway.log("route table obeyed")) > count
                for gateway, count in seen
                if gateway in self.gateways
            )
        )
        await until(lambda: not old.num_open)
        assert old.num_abandoned == 0
        await old.stop_listening()

    async def _add_gateway(self) -> None:
        made = GatewayProcess(self._folder, "--drain-delay", "0.5", "--drain-timeout", "30")
        self._write()
        self._stack.callback(made.__exit__)
        await asyncio.to_thread(made.__enter__)
        await asyncio.to_thread(made.wait_log, "route table obeyed")
        self.gateways.append(made)
        self._balancer.members.append(_address(made))

    def _write(self) -> None:
        urls = [engine.url for engine in self.engines]
        GatewayProcess(self._folder).write(table(model("m", {"m-1": (100, urls)})))


def _address(gateway: GatewayProcess) -> tuple[str, int]:
    parts = urlsplit(gateway.url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


async def client(session: aiohttp.ClientSession, url: str, stop: asyncio.Event) -> int:
    """Read one stream after the other; returns how many, each of them whole."""
    num_whole = 0
    while not stop.is_set():
        body = {"model": "m", "stream": True}
        async with session.post(url + "/v1/chat/completions", json=body) as answer:
            assert answer.status == 200, await answer.text()
            assert tokens(await answer.read()) == "".join(WORDS)
        num_whole += 1
    return num_whole


async def test_no_stream_is_lost_cut_or_doubled_while_everything_is_replaced(tmp_path):
    stop, connector = asyncio.Event(), aiohttp.TCPConnector(limit=0, force_close=True)
    async with AsyncExitStack() as stack:
        balancer = await stack.enter_async_context(Balancer())
        fleet = Fleet(tmp_path, stack, balancer)
        await fleet.start()
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        clients = [
            asyncio.create_task(client(session, balancer.url, stop)) for _ in range(NUM_STREAMS)
        ]
        await until(lambda: sum(engine.num_open for engine in fleet.engines) == NUM_STREAMS)

        async def restart_gateways() -> None:
            for _ in range(NUM_GATEWAY_RESTARTS):
                await fleet.restart_gateway()

        async def update_engines() -> None:
            for _ in range(NUM_ENGINE_UPDATES):
                await fleet.update_engine()

        await asyncio.gather(restart_gateways(), update_engines())
        stop.set()
        whole = await asyncio.gather(*clients)
        assert min(whole) >= 2
        assert balancer.num_refused == 0
        for gateway in fleet.gateways:
            assert await asyncio.to_thread(gateway.stop) == 0
    print({"streams": sum(whole), "each at least": min(whole)})
