"""Windows from a Prometheus server: a real one where there is one, its answers by hand else."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, web

from operator_models import a_fleet, a_model
from pagelet_gateway.metrics import Metrics, Outcome
from pagelet_operator.local.free_port import free_port
from pagelet_operator.ports import TelemetryError
from pagelet_operator.telemetry import series
from pagelet_operator.telemetry.prometheus import PrometheusTelemetry

MODEL = a_model("m-2", served_name="m")
FLEET = a_fleet({"m-1": 1, "m-2": 1})
NOW = 1000.0
WAIT_S = 60.0


def row(name: str, *values: tuple[float, float], instance: str = "g:1", **labels: str) -> Any:
    metric = {"__name__": name, "job": "gateway", "instance": instance, **labels}
    return {"metric": metric, "values": [[at, str(value)] for at, value in values]}


def alive(since: float = 900.0, instance: str = "g:1") -> Any:
    return row(series.ALIVE, (since, 1.0), (NOW - 5, 1.0), instance=instance)


def requests(*values: tuple[float, float], instance: str = "g:1", revision: str = "m-1") -> Any:
    labels = {"model": "m", "revision": revision, "outcome": "ok"}
    return row(series.REQUESTS, *values, instance=instance, **labels)


@asynccontextmanager
async def answering(*rows: Any, **answer: Any) -> AsyncIterator[str]:
    """A server that knows these series, or says `answer`."""

    async def query(request: web.Request) -> web.Response:
        asks_alive = series.ALIVE in str((await request.post())["query"])
        found = [r for r in rows if (r["metric"]["__name__"] == series.ALIVE) == asks_alive]
        return web.json_response(
            answer or {"status": "success", "data": {"resultType": "matrix", "result": found}}
        )

    app = web.Application()
    app.router.add_post("/api/v1/query", query)
    runner = web.AppRunner(app)
    await runner.setup()
    await (site := web.TCPSite(runner, "127.0.0.1", 0)).start()
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    finally:
        await runner.cleanup()


async def counted(*rows: Any, **answer: Any) -> dict[str, int]:
    async with answering(*rows, **answer) as url, PrometheusTelemetry(url, lambda: NOW) as source:
        found = await source.windows(MODEL, FLEET, 800.0)
    return {name: window.requests for name, window in found.items()}


async def test_rises_count_and_resets_count_from_0():
    values = ((900.0, 50), (930.0, 60), (960.0, 3), (990.0, 4))
    assert await counted(alive(), requests(*values)) == {"m-1": 14}


async def test_what_one_revision_did_comes_in_one_piece():
    rows = (alive(), requests((900.0, 50), (990.0, 60)))
    async with answering(*rows) as url, PrometheusTelemetry(url, lambda: NOW) as source:
        (piece,) = await source.pieces(MODEL, FLEET, "m-1", 800.0)
        assert piece.requests == 10
        assert await source.pieces(MODEL, FLEET, "other", 800.0) == ()


async def test_a_series_younger_than_its_process_began_at_0():
    late = requests((950.0, 7), (990.0, 9), revision="m-2")
    assert await counted(alive(), requests((900.0, 50), (990.0, 51)), late) == {"m-1": 1, "m-2": 9}


async def test_gateways_add_up():
    rows = [
        row
        for instance in ("g:1", "g:2")
        for row in (alive(instance=instance), requests((900, 1), (990, 5), instance=instance))
    ]
    assert await counted(*rows) == {"m-1": 8}


@pytest.mark.parametrize(("last_at", "waiting"), [(990.0, 5), (870.0, 0)])
async def test_who_waits_is_the_newest_sample_and_none_once_it_is_old(last_at, waiting):
    held = [
        row(
            series.FIRST_TOKEN_WAIT,
            (850.0, 9.0),
            (last_at, value),
            instance=instance,
            model="m",
            revision="m-1",
            le=le,
        )
        for instance, value in (("g:1", 2.0), ("g:2", 3.0))
        for le in ("1.0", "+Inf")
    ]
    rows = (alive(), alive(instance="g:2"), requests((900.0, 1), (990.0, 5)), *held)
    async with answering(*rows) as url, PrometheusTelemetry(url, lambda: NOW) as source:
        found = (await source.windows(MODEL, FLEET, 800.0))["m-1"]
    assert found.waiting.counts == (waiting, 0)
    assert found.requests == 4


async def test_without_a_gateways_sample_there_is_no_telemetry():
    with pytest.raises(TelemetryError, match="no samples of a gateway"):
        await counted(requests((900.0, 1), (990.0, 5)))
    old = row(series.ALIVE, (500.0, 1.0), (600.0, 1.0))
    with pytest.raises(TelemetryError, match="no samples of a gateway"):
        await counted(old)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"status": "error", "error": "query timed out"}, "query timed out"),
        ({"hello": "world"}, "no matrix"),
    ],
)
async def test_an_answer_that_is_none_says_so(answer, sentence):
    with pytest.raises(TelemetryError, match=sentence):
        await counted(**answer)


async def test_values_that_count_nothing_are_refused():
    for value in (float("nan"), float("inf"), -1.0):
        with pytest.raises(TelemetryError, match="count nothing"):
            await counted(alive(), requests((900.0, 1), (990.0, value)))


async def test_a_server_that_is_not_there_says_so():
    async with PrometheusTelemetry(f"http://127.0.0.1:{free_port('127.0.0.1')}", lambda: NOW) as it:
        with pytest.raises(TelemetryError, match=r"127\.0\.0\.1"):
            await it.windows(MODEL, FLEET, 0.0)


def test_a_models_name_cannot_leave_its_quotes():
    source = PrometheusTelemetry("http://p", lambda: NOW, selector='job="gateway"')
    query, _ = source.queries('m"} or vector(1) #', 59.1)
    assert r'model="m\"} or vector(1) #",job="gateway"}[60s]' in query


@contextmanager
def a_prometheus(folder: Path, target: str) -> Iterator[str]:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("no prometheus on this machine (Debian: apt-get install prometheus)")
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        f"scrape_configs: [{{job_name: gateway, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    port = free_port("127.0.0.1")
    with subprocess.Popen(
        [
            program, f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}",
        ],
        stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


async def scraped(url: str, at_least: int) -> None:
    """Wait until so many readings of the gateway are stored."""
    query = {"query": f"count_over_time({series.ALIVE}[1h])"}
    async with ClientSession() as session, asyncio.timeout(WAIT_S):
        while True:
            try:
                async with session.get(f"{url}/api/v1/query", params=query) as response:
                    found = (await response.json())["data"]["result"]
                if found and int(found[0]["value"][1]) >= at_least:
                    return
            except (ClientError, KeyError, ValueError):
                pass
            await asyncio.sleep(0.2)


async def test_a_real_server_tells_exactly_what_a_gateway_counted(tmp_path):
    metrics = Metrics()

    async def export(_: web.Request) -> web.Response:
        return web.Response(text=metrics.render().decode())

    app = web.Application()
    app.router.add_get("/metrics", export)
    runner = web.AppRunner(app)
    await runner.setup()
    await (site := web.TCPSite(runner, "127.0.0.1", 0)).start()
    target = f"127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    since = time.time()
    metrics.requests.labels("m", "m-1", Outcome.OK).inc(1000)
    try:
        with a_prometheus(tmp_path, target) as url:
            await scraped(url, 2)
            metrics.requests.labels("m", "m-1", Outcome.OK).inc(7)
            metrics.requests.labels("m", "m-2", Outcome.TIMEOUT).inc(3)
            metrics.itl.labels("m", "m-2").observe(0.03)
            await scraped(url, 6)
            async with PrometheusTelemetry(url, time.time) as source:
                found = await source.windows(MODEL, FLEET, since)
    finally:
        await runner.cleanup()
    assert (found["m-1"].requests, found["m-1"].timeouts) == (7, 0)
    assert (found["m-2"].requests, found["m-2"].timeouts) == (3, 3)
    assert found["m-2"].itl.total == 1
