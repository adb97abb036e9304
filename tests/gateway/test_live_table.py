import asyncio
import json

import pytest
import structlog

from pagelet_gateway.core.router import Router
from pagelet_gateway.live_table import LiveTable
from pagelet_gateway.metrics import Metrics

EMPTY = b'{"schemaVersion": 1, "models": []}'


async def test_a_refused_table_leaves_the_last_good_one():
    router, metrics = Router(), Metrics()
    live = LiveTable(router, metrics)
    assert not live.offer(b"{")
    assert router.table is None
    assert live.offer(EMPTY)
    good = router.table
    assert not live.offer({"schemaVersion": 2, "models": []})
    assert router.table is good
    assert b"route_table_errors_total 2.0" in metrics.render()


async def test_a_change_wakes_who_waits_for_it_and_only_then():
    live = LiveTable(Router(), Metrics())
    live.offer(EMPTY)
    waiting = asyncio.create_task(live.change(20.0))
    await asyncio.sleep(0)
    live.offer(b"{")
    await asyncio.sleep(0)
    assert not waiting.done()
    live.offer(EMPTY)
    assert await waiting
    assert not await live.change(0.0)


@pytest.mark.parametrize("form", [json.dumps, dict])
def test_a_misspelt_field_is_obeyed_and_told_once_per_table(form):
    entry = {"name": "m", "resource": "a/m", "generation": 1, "revisions": [], "tenant": []}
    table = form({"schemaVersion": 1, "models": [entry]})
    raw = table.encode() if isinstance(table, str) else table
    live = LiveTable(Router(), Metrics())
    with structlog.testing.capture_logs() as logs:
        assert live.offer(raw)
        assert live.offer(EMPTY)
    (warning,) = [entry for entry in logs if entry["log_level"] == "warning"]
    assert warning["event"] == "route table has unknown fields; they have no effect"
    assert warning["fields"] == ["$.models[0].tenant (tenants?)"]
