"""The scraper against real sockets: gateways that count, restart, lie and hang."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web

from operator_models import a_fleet, a_model
from pagelet_gateway.metrics import Metrics, Outcome
from pagelet_operator.core.model import Fleet, Role
from pagelet_operator.ports import TelemetryError
from pagelet_operator.telemetry import scrape
from pagelet_operator.telemetry.scrape import Scraper

INTERVAL_S = 5.0


class Source:
    """Something that exports metrics; `answer` says what."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.text: str | None = None
        self.status = 200
        self.hangs = False
        self.connections: set[object] = set()
        self.headers: dict[str, str] = {}
        self.url = ""

    def count(self, revision: str, requests: int, outcome: Outcome = Outcome.OK) -> None:
        self.metrics.requests.labels("m", revision, outcome).inc(requests)

    async def handle(self, request: web.Request) -> web.Response:
        self.connections.add(request.transport)
        self.headers = dict(request.headers)
        if self.hangs:
            await asyncio.Event().wait()
        text = self.metrics.render().decode() if self.text is None else self.text
        return web.Response(text=text, status=self.status)


@asynccontextmanager
async def a_source() -> AsyncIterator[Source]:
    source, app = Source(), web.Application()
    app.router.add_get("/metrics", source.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    source.url = f"http://127.0.0.1:{port}"
    try:
        yield source
    finally:
        await runner.cleanup()


class World:
    """A clock, the gateways there are, and one model with two revisions."""

    def __init__(self, *gateways: str) -> None:
        self.now = 100.0
        self.gateways = list(gateways)
        self.model = a_model("m-2", served_name="m")
        self.fleet = a_fleet({"m-1": 1, "m-2": 1}, {"m-1": Role.STABLE, "m-2": Role.CANARY})
        self.scraper = Scraper(self.urls, lambda: self.now, interval_s=INTERVAL_S)

    async def urls(self) -> list[str]:
        return self.gateways

    async def read(self) -> None:
        self.now += INTERVAL_S
        await self.scraper.read()

    async def requests(self, since: float = 0.0) -> dict[str, int]:
        found = await self.scraper.windows(self.model, self.fleet, since)
        return {name: window.requests for name, window in found.items()}


async def test_what_happened_between_two_readings_is_told_by_revision():
    async with a_source() as gateway:
        world = World(gateway.url)
        gateway.count("m-1", 500)
        async with world.scraper:
            await world.read()
            gateway.count("m-1", 95)
            gateway.count("m-2", 5)
            gateway.count("other", 7)
            await world.read()
            assert await world.requests() == {"m-1": 95, "m-2": 5}
            assert await world.requests(world.now) == {}


async def test_pieces_are_the_readings_one_by_one():
    async with a_source() as gateway:
        world = World(gateway.url)
        async with world.scraper:
            for count in (500, 3, 4):
                await world.read()
                gateway.count("m-1", count)
            await world.read()
            found = await world.scraper.pieces(world.model, world.fleet, "m-1", 0.0)
            assert [piece.requests for piece in found] == [500, 3, 4]
            assert [piece.span_s for piece in found] == [INTERVAL_S] * 3
            assert not await world.scraper.pieces(world.model, world.fleet, "m-2", 0.0)


async def test_gateways_add_up_and_a_restart_counts_from_0():
    async with a_source() as first, a_source() as second:
        world = World(first.url, second.url)
        first.count("m-1", 100)
        async with world.scraper:
            await world.read()
            second.count("m-1", 3)
            first.metrics = Metrics()
            first.count("m-1", 4)
            await world.read()
            assert await world.requests() == {"m-1": 7}


async def test_a_gateway_that_is_gone_and_back_is_another_one():
    async with a_source() as first, a_source() as second:
        world = World(first.url, second.url)
        async with world.scraper:
            await world.read()
            world.gateways = [first.url]
            await world.read()
            second.count("m-1", 1000)
            world.gateways = [first.url, second.url]
            await world.read()
            assert await world.requests() == {}


async def test_connections_are_kept():
    async with a_source() as gateway:
        world = World(gateway.url)
        async with world.scraper:
            for _ in range(5):
                await world.read()
        assert len(gateway.connections) == 1


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"status": 503}, "HTTP 503"),
        ({"text": 'pagelet_gateway_requests_total{model="m",revision="m-1"} NaN'}, "NaN"),
        ({"text": "x" * 2000}, "MiB"),
        ({"hangs": True}, "Timeout"),
    ],
)
async def test_without_any_gateways_answer_there_is_an_error_that_says_why(
    fault, sentence, monkeypatch
):
    monkeypatch.setattr(scrape, "MAX_BYTES", 1999)
    monkeypatch.setattr(scrape, "TIMEOUT_S", 0.3)
    async with a_source() as gateway:
        world = World(gateway.url)
        for name, value in fault.items():
            setattr(gateway, name, value)
        async with world.scraper:
            await world.read()
            with pytest.raises(TelemetryError, match=sentence):
                await world.requests()


async def test_a_silent_gateway_is_left_out_of_the_interval():
    async with a_source() as first, a_source() as second:
        world = World(first.url, second.url)
        async with world.scraper:
            await world.read()
            second.status = 500
            first.count("m-1", 2)
            await world.read()
            assert await world.requests() == {"m-1": 2}
            assert set(world.scraper.failures) == {second.url}
            second.status = 200
            await world.read()
            assert second.url not in world.scraper.failures


async def test_old_figures_are_no_telemetry():
    async with a_source() as gateway:
        world = World(gateway.url)
        async with world.scraper:
            await world.read()
            world.now += 10 * INTERVAL_S
            with pytest.raises(TelemetryError, match="no gateway"):
                await world.requests()


async def test_where_gateways_cannot_be_found_nothing_is_concluded():
    async def nowhere() -> list[str]:
        raise OSError("the API server does not answer")

    scraper = Scraper(nowhere, lambda: 100.0)
    async with scraper:
        await scraper.read()
        with pytest.raises(TelemetryError, match="API server"):
            await scraper.windows(a_model("m-1"), a_fleet({}), 0.0)


async def test_engines_are_asked_with_their_key_once_a_model_is_followed():
    text = 'vllm:num_requests_waiting{model_name="m"} 4\npagelet_engine_output_tokens_total 10\n'
    async with a_source() as gateway, a_source() as engine:
        engine.text = text
        world = World(gateway.url)
        world.scraper = Scraper(world.urls, lambda: world.now, engine_key=lambda _: "secret")
        seen = world.fleet.revisions["m-1"]
        world.fleet = Fleet({"m-1": replace(seen, endpoints=(engine.url,))})
        async with world.scraper:
            await world.read()
            await world.requests()
            for _ in range(3):
                await world.read()
            found = await world.scraper.windows(world.model, world.fleet, 0.0)
            assert (found["m-1"].queue_samples, found["m-1"].queue_sum) == (2, 8.0)
            assert found["m-1"].output_tokens == 0
        assert engine.headers["x-pagelet-gateway-key"] == "secret"
        assert "x-pagelet-gateway-key" not in gateway.headers
