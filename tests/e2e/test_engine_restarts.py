"""Rolling restarts of one engine under load: no stream is cut, none is falsely called done."""

import asyncio
import os
import signal
from contextlib import ExitStack

import aiohttp

from server_client import text_of
from server_process import ServerProcess, echo_server

NUM_RESTARTS = int(os.environ.get("PAGELET_RESTARTS", "3"))
NUM_CLIENTS = int(os.environ.get("PAGELET_CLIENTS", "30"))
NUM_TOKENS = 60
EXPECTED = "hello" * (NUM_TOKENS // 5)
BODY = {"model": "echo", "prompt": "hello", "max_tokens": NUM_TOKENS, "stream": True}
SLOW = ("--step-seconds", "0.02")


class Client:
    """Asks again and again at whichever server is the current one, as a gateway would."""

    def __init__(self) -> None:
        self.num_whole = 0
        self.num_sent_elsewhere = 0

    async def run(self, session, current, stop):
        while not stop.is_set():
            await self._ask(session, current)

    async def _ask(self, session, current):
        url = current["url"]
        try:
            async with session.post(url + "/v1/completions", json=BODY) as response:
                if response.status == 503:
                    assert response.headers["retry-after"]
                    self.num_sent_elsewhere += 1
                    await asyncio.sleep(0.05)
                    return
                assert response.status == 200
                events = [line async for line in response.content if line.startswith(b"data: ")]
        except aiohttp.ClientConnectorError:
            self.num_sent_elsewhere += 1  # gone already, and nothing had begun
            await asyncio.sleep(0.05)
            return
        except aiohttp.ServerDisconnectedError:
            # An idle connection of the pool, closed by a server that left between two requests.
            self.num_sent_elsewhere += 1
            return
        texts = [line.decode().removeprefix("data: ").strip() for line in events]
        assert texts[-1] == "[DONE]", texts[-1]
        assert text_of(texts) == EXPECTED
        self.num_whole += 1


async def leave(server: ServerProcess) -> None:
    """Tell a server to stop and wait until it has, with exit code 0."""
    server.signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.exit_code) == 0


async def test_no_stream_is_cut_while_one_engine_follows_the_other():
    clients, stop, current = [Client() for _ in range(NUM_CLIENTS)], asyncio.Event(), {}
    connector = aiohttp.TCPConnector(limit=0)
    with ExitStack() as servers:
        server = servers.enter_context(echo_server(*SLOW))
        current["url"] = await asyncio.to_thread(server.wait_ready)
        async with aiohttp.ClientSession(connector=connector) as session:
            tasks = [asyncio.create_task(each.run(session, current, stop)) for each in clients]
            for _ in range(NUM_RESTARTS):
                old, server = server, servers.enter_context(echo_server(*SLOW))
                current["url"] = await asyncio.to_thread(server.wait_ready)
                await leave(old)
            stop.set()
            await asyncio.gather(*tasks)
    assert all(each.num_whole >= NUM_RESTARTS for each in clients)
    print({"whole": sum(each.num_whole for each in clients), "restarts": NUM_RESTARTS})
