import asyncio

from gateway_process import model, post, table, until
from gateway_upstream import Upstream, Wire, answers
from pagelet_gateway.core.router import Router
from pagelet_gateway.core.table_parser import parse
from pagelet_gateway.metrics import Metrics
from pagelet_gateway.server import load_watch
from pagelet_gateway.server.load_watch import LoadWatch

PATH = "/v1/chat/completions"
EXPOSITION = 'vllm:num_requests_waiting{{model_name="m"}} {}\nvllm:num_requests_running 1\n'


def reports(waiting: int):
    """An engine that says how many wait, and answers requests."""

    async def script(wire: Wire) -> None:
        if wire.received.path != "/metrics":
            await answers(wire)
            return
        text = EXPOSITION.format(waiting).encode()
        await wire.head(200, content_type="text/plain", content_length=str(len(text)))
        await wire.raw(text)

    return script


def asked(engine: Upstream, path: str) -> list:
    return [received for received in engine.received if received.path == path]


def router_for(urls: list[str], **fields) -> Router:
    router = Router()
    router.apply(parse(table(model("m", {"m-1": (100, urls)}, **fields))))
    return router


async def watching(router: Router, session, holds) -> Metrics:
    """Watch until something holds."""
    metrics = Metrics()
    task = asyncio.create_task(LoadWatch(router, metrics, session, interval_s=0.01).run())
    try:
        await until(lambda: holds(metrics))
    finally:
        task.cancel()
    return metrics


def count(metrics: Metrics, outcome: str) -> float:
    labels = {"outcome": outcome}
    return metrics.registry.get_sample_value("pagelet_gateway_load_reports_total", labels) or 0.0


async def test_requests_go_where_engines_say_that_nobody_waits(gateway, session):
    async with (
        Upstream(sees_metrics=True, script=reports(40)) as busy,
        Upstream(sees_metrics=True, script=reports(0)) as free,
    ):
        gateway.apply(model("m", {"m-1": (100, [busy.url, free.url])}))
        await until(lambda: asked(busy, "/metrics") and asked(free, "/metrics"))
        await asyncio.sleep(0.1)
        for _ in range(10):
            status, _, _ = await post(session, gateway.url + PATH, {"model": "m"})
            assert status == 200
        assert (len(asked(busy, PATH)), len(asked(free, PATH))) == (0, 10)


async def test_all_with_a_share_are_asked_and_no_others(session):
    async with (
        Upstream(sees_metrics=True, script=reports(0)) as alone,
        Upstream(sees_metrics=True, script=reports(0)) as one,
        Upstream(sees_metrics=True, script=reports(0)) as two,
    ):
        router = Router()
        router.apply(
            parse(
                table(
                    model("solo", {"s-1": (100, [alone.url]), "s-2": (0, [two.url])}),
                    model("duo", {"d-1": (100, [one.url])}),
                )
            )
        )
        await watching(router, session, lambda m: count(m, "ok") >= 6)
        assert alone.received
        assert one.received
        assert two.received == []


async def test_engines_are_asked_at_the_port_where_their_metrics_are(session):
    async with Upstream() as engine, Upstream(sees_metrics=True, script=reports(0)) as metrics:
        route = model("m", {"m-1": (100, [engine.url])})
        route["revisions"][0]["endpoints"][0]["metricsPort"] = metrics.port
        router = Router()
        router.apply(parse(table(route)))
        await watching(router, session, lambda m: count(m, "ok") >= 2)
        assert {received.path for received in metrics.received} == {"/metrics"}
        assert engine.num_connections == 0


async def test_engines_are_shown_the_gateways_key(session):
    async with (
        Upstream(sees_metrics=True, script=reports(0)) as one,
        Upstream(sees_metrics=True, script=reports(0)) as two,
    ):
        router = router_for([one.url, two.url], gatewayKey="sixteen-characters-and-more")
        await watching(router, session, lambda m: count(m, "ok") >= 2)
        assert one.received[0].headers["x-pagelet-gateway-key"] == "sixteen-characters-and-more"


async def test_an_engine_that_tells_nothing_is_asked_less_often_and_harms_nobody(session):
    async def refuses(wire: Wire) -> None:
        await wire.reply(401, {"error": {}})

    async def hangs(wire: Wire) -> None:
        await asyncio.sleep(60)

    async with (
        Upstream(sees_metrics=True, script=refuses) as shut,
        Upstream(sees_metrics=True, script=hangs) as stuck,
        Upstream(sees_metrics=True, script=reports(0)) as good,
    ):
        router = router_for([shut.url, stuck.url, good.url])
        metrics = await watching(
            router, session, lambda m: len(good.received) >= 20 and bool(stuck.received)
        )
        assert len(shut.received) == 1
        assert len(stuck.received) == 1
        assert count(metrics, "failed") == 1


async def test_a_flood_for_an_answer_is_not_read_to_its_end(session, monkeypatch):
    monkeypatch.setattr(load_watch, "MAX_BYTES", 10_000)
    written = 0

    async def floods(wire: Wire) -> None:
        nonlocal written
        await wire.start_stream()
        for _ in range(10_000):
            await wire.part(b"# x\n" * 4096)
            written += 1

    async with (
        Upstream(sees_metrics=True, script=floods) as one,
        Upstream(sees_metrics=True, script=reports(0)) as two,
    ):
        router = router_for([one.url, two.url])
        await watching(router, session, lambda m: count(m, "failed") == 1)
        assert written < 10_000


async def test_a_round_ends_with_the_watch(session, monkeypatch):
    monkeypatch.setattr(load_watch, "TIMEOUT_S", 600.0)  # nothing else ends it

    async def hangs(wire: Wire) -> None:
        await asyncio.sleep(60)

    async with (
        Upstream(sees_metrics=True, script=hangs) as one,
        Upstream(sees_metrics=True, script=hangs) as two,
    ):
        router = router_for([one.url, two.url])
        await watching(router, session, lambda m: bool(one.received and two.received))
        await until(lambda: one.num_abandoned == two.num_abandoned == 1)
