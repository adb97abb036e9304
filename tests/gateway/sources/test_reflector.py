"""Mirroring: what the server holds in the end is what the mirror shows, whatever came between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from gateway_api_server import ApiServer, event, expired, idle, item, serving
from gateway_process import until
from pagelet_gateway.sources.kube_api import Kind
from pagelet_gateway.sources.metrics import SourceMetrics
from pagelet_gateway.sources.reflector import Reflector

THINGS = Kind("/api/v1", "things")


@asynccontextmanager
async def mirroring(
    *watches: object, items: tuple[str, ...] = ()
) -> AsyncIterator[tuple[ApiServer, Reflector[dict], CollectorRegistry]]:
    registry = CollectorRegistry()
    async with serving() as (server, api):
        server.items = [item(name) for name in items]
        server.watches = list(watches)  # type: ignore[arg-type]
        mirror: Reflector[dict] = Reflector(
            api, THINGS, "ns", lambda found: found, lambda: None, SourceMetrics(registry)
        )
        task = asyncio.create_task(mirror.run())
        try:
            yield server, mirror, registry
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def names(mirror: Reflector[dict]) -> set[str]:
    return {name for _, name in mirror.items}


def saying(*parts: bytes, then=None):
    async def watch(request: web.Request, answer: web.StreamResponse) -> None:
        for part in parts:
            await answer.write(part)
        if then is not None:
            await then(request, answer)

    return watch


async def breaking(request: web.Request, _answer: web.StreamResponse) -> None:
    assert request.transport is not None
    request.transport.abort()


async def test_all_pages_are_listed_and_then_changes_followed():
    changes = saying(
        event("ADDED", item("d", 5)),
        event("MODIFIED", item("a", 6, spec="new")),
        event("DELETED", item("b", 7)),
        then=idle,
    )
    async with mirroring(changes, items=("a", "b", "c")) as (server, mirror, _):
        await until(lambda: names(mirror) == {"a", "c", "d"})
        assert mirror.is_listed
        assert mirror.items["ns", "a"]["spec"] == "new"
        assert server.lists == 2
        assert server.watched_from == ["1"]


async def test_a_watch_that_ends_goes_on_from_the_last_bookmark_without_a_list():
    bookmark = saying(event("BOOKMARK", {"metadata": {"resourceVersion": "40"}}))
    async with mirroring(bookmark, items=("a",)) as (server, mirror, _):
        await until(lambda: len(server.watched_from) == 2)
        assert server.watched_from == ["1", "40"]
        assert server.lists == 1
        assert names(mirror) == {"a"}


async def test_a_version_that_is_too_old_is_listed_anew():
    changed = asyncio.Event()

    async def expiring(request: web.Request, answer: web.StreamResponse) -> None:
        await changed.wait()
        await answer.write(expired())

    async with mirroring(expiring, items=("a",)) as (server, mirror, _):
        await until(lambda: server.watched_from == ["1"])
        server.items, server.version = [item("b", 9)], 9
        changed.set()
        await until(lambda: names(mirror) == {"b"})
        await until(lambda: server.watched_from == ["1", "9"])


@pytest.mark.parametrize(
    "trouble",
    [
        saying(b"{not json\n"),
        saying(b'{"type": "ADDED"}\n'),
        saying(b"[1]\n"),
        saying(event("ERROR", {"code": 500, "message": "boom"})),
        saying(event("ADDED", {"metadata": {"resourceVersion": "3"}})),
        saying(b'{"type": "ADDED", "object"', then=breaking),
        breaking,
    ],
)
async def test_a_broken_watch_costs_a_pause_and_no_object(trouble):
    late = saying(event("ADDED", item("late", 8)), then=idle)
    async with mirroring(trouble, late, items=("a",)) as (_, mirror, registry):
        await until(lambda: names(mirror) == {"a", "late"})
        count = registry.get_sample_value("pagelet_gateway_source_errors_total", {"kind": "things"})
        assert count == 1


@pytest.mark.parametrize(
    "failure",
    [
        lambda: web.Response(status=500, text="oops"),
        lambda: web.json_response({"message": "no right"}, status=403),
        lambda: web.Response(text="a proxy's page"),
        lambda: web.json_response({"items": []}),
        lambda: web.json_response([]),
    ],
)
async def test_a_server_that_does_not_answer_is_asked_again(failure):
    async with serving() as (server, api):
        server.failures = [failure(), failure()]
        server.items = [item("a")]
        registry = CollectorRegistry()
        mirror = Reflector(
            api, THINGS, "ns", lambda found: found, lambda: None, SourceMetrics(registry)
        )
        task = asyncio.create_task(mirror.run())
        labels = {"kind": "things", "namespace": "ns"}
        watching = "pagelet_gateway_source_watching"
        await until(lambda: registry.get_sample_value(watching, labels) == 0)
        assert not mirror.is_listed
        await until(lambda: names(mirror) == {"a"})
        assert registry.get_sample_value(watching, labels) == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
