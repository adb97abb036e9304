"""Gates as child processes: one try, its figures, its end."""

import json
import os
from dataclasses import replace

import pytest

from bench_server import ScriptedServer, completion
from pagelet_operator.core.gate_report import Report
from pagelet_operator.core.gates import Gate, GateKind, GateRun, GateStatus
from pagelet_operator.core.model import ModelRef
from pagelet_operator.local.gates import ProcessGates
from pagelet_operator.ports import GateOrder, UnavailableError

REF = ModelRef("default", "chat")
GATE = Gate(GateKind.WARMUP, {"requests": 2}, 60.0)
RUN = GateRun(GATE.key("chat-0123456789", None))


def order(url, run=RUN):
    return GateOrder(ref=REF, served_name="m", run=run, gate=GATE, canary=url)


@pytest.fixture
async def gates(tmp_path):
    found = ProcessGates(tmp_path, os.environ, None)
    yield found
    await found.close()


async def ended(gates, run=RUN):
    await gates.ended.wait()
    return (await gates.observe(REF))[run]


async def test_a_try_runs_and_leaves_its_figures(gates, tmp_path):
    async with ScriptedServer(completion).listening() as server:
        await gates.start(order(server.url))
        await gates.start(order(server.url))
        assert (await gates.observe(REF))[RUN].status is GateStatus.RUNNING
        result = await ended(gates)
    assert result.status is GateStatus.MEASURED
    assert result.figures["requests"] == 2
    assert len(server.bodies) == 2
    # Whoever comes after a restart knows of it, and does not run it again.
    again = ProcessGates(tmp_path, os.environ, None)
    await again.start(order(server.url))
    assert (await again.observe(REF))[RUN] == result
    await again.stop(REF, RUN)
    assert await again.observe(REF) == {}


async def test_what_cannot_be_asked_is_an_error(gates):
    await gates.start(order("http://127.0.0.1:1"))
    result = await ended(gates)
    assert result.status is GateStatus.ERROR
    assert "cannot be reached" in result.message


async def test_a_program_that_is_killed_has_no_verdict(gates):
    async with ScriptedServer(lambda body: completion(body, first_s=60.0)).listening() as server:
        await gates.start(order(server.url))
        (_, process, _) = gates._running[RUN.name]
        process.kill()
        result = await ended(gates)
    assert result.status is GateStatus.ERROR


async def test_a_try_that_is_stopped_ends_and_is_forgotten(gates):
    async with ScriptedServer(lambda body: completion(body, first_s=60.0)).listening() as server:
        await gates.start(order(server.url))
        await gates.stop(REF, RUN)
        await gates.stop(REF, RUN)
    assert await gates.observe(REF) == {}


async def test_a_try_that_was_stopped_can_be_started_anew(gates):
    async with ScriptedServer(completion).listening() as server:
        await gates.start(order(server.url))
        await ended(gates)
        await gates.stop(REF, RUN)
        gates.ended.clear()
        await gates.start(order(server.url))
        assert (await ended(gates)).status is GateStatus.MEASURED
    assert len(server.bodies) == 4


async def test_files_of_others_are_passed_over(gates, tmp_path):
    folder = tmp_path / "default" / "chat"
    folder.mkdir(parents=True)
    (folder / "a.order.json").write_text("{}")
    (folder / "b.order.json").write_text(json.dumps({"revision": "x", "gate": "chaos"}))
    assert await gates.observe(REF) == {}
    assert replace(RUN, attempt=1) not in await gates.observe(REF)


async def test_a_report_is_two_files_that_are_no_try(gates, tmp_path):
    place = await gates.keep(REF, Report(revision="chat-1", summary="{}", page="<p>"))
    page = tmp_path / "default" / "chat" / "chat-1-loadtest.html"
    assert place == str(page)
    assert page.read_text() == "<p>"
    assert page.with_suffix(".report.json").read_text() == "{}"
    await gates.keep(REF, Report(revision="chat-1", summary="{}", page="<b>"))
    assert page.read_text() == "<b>"
    assert await gates.observe(REF) == {}


async def test_a_report_without_a_place_is_an_unavailable_world(tmp_path):
    (tmp_path / "default").write_text("in the way")
    gates = ProcessGates(tmp_path, os.environ, None)
    with pytest.raises(UnavailableError, match="cannot be written"):
        await gates.keep(REF, Report(revision="chat-1", summary="{}", page=""))
