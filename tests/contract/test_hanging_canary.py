"""A canary whose engine never answers is seen while its clients still wait."""

import asyncio

import aiohttp

from gateway_in_process import gateway_in_process
from gateway_process import WAIT_S, model, until
from gateway_upstream import Upstream, Wire
from operator_models import a_fleet, a_model
from pagelet_operator.core.analysis import AnalysisPolicy, Rule, Verdict, judge
from pagelet_operator.core.measure import Metric
from pagelet_operator.core.model import Role
from pagelet_operator.core.window import Window
from pagelet_operator.telemetry.scrape import Scraper

NUM_REQUESTS = 40
POLICY = AnalysisPolicy(metrics=(Rule(metric=Metric.TTFT_P50, limit=0.05),))


async def ask(session: aiohttp.ClientSession, url: str) -> None:
    body = {"model": "m", "stream": True, "messages": []}
    async with session.post(url + "/v1/chat/completions", json=body) as answer:
        await answer.read()


async def test_a_hang_fails_a_canary_before_a_request_ends_and_each_is_counted_once(tmp_path):
    released = asyncio.Event()

    async def hangs(wire: Wire) -> None:
        await released.wait()
        await wire.start_stream()
        await wire.token("late")
        await wire.end_stream()

    fleet = a_fleet({"m-1": 1}, {"m-1": Role.CANARY})
    wanted = a_model("m-1", served_name="m")
    rounds = iter(range(1, 1_000_000))
    async with (
        Upstream(hangs) as engine,
        aiohttp.ClientSession() as session,
        gateway_in_process(tmp_path, model("m", {"m-1": (100, [engine.url])})) as url,
    ):

        async def gateways() -> list[str]:
            return [url]

        now = 0.0
        scraper = Scraper(gateways, lambda: now)

        async def look() -> Window:
            nonlocal now
            now = 5.0 * next(rounds)
            await scraper.read()
            return (await scraper.windows(wanted, fleet, 0.0)).get("m-1", Window(since=0, until=0))

        async with scraper:
            await look()
            asked = [asyncio.create_task(ask(session, url)) for _ in range(NUM_REQUESTS)]
            await until(lambda: len(engine.received) == NUM_REQUESTS)
            async with asyncio.timeout(WAIT_S):
                while judge(POLICY, seen := await look(), None).verdict is not Verdict.FAIL:
                    pass
            assert (seen.requests, seen.ttft.total, seen.waiting.total) == (0, 0, NUM_REQUESTS)
            released.set()
            await asyncio.gather(*asked)
            async with asyncio.timeout(WAIT_S):
                while (seen := await look()).requests < NUM_REQUESTS:
                    pass
            assert (seen.requests, seen.ttft.total, seen.waiting.total) == (
                NUM_REQUESTS,
                NUM_REQUESTS,
                0,
            )
