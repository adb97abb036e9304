"""Probes run in order, within a time, and not at an endpoint that has gone."""

from bench_server import Script, ScriptedServer
from check_endpoint import KEY, MODEL, serving
from pagelet_bench.check.runner import run_probes
from pagelet_bench.check.wire import Wire
from pagelet_bench.core.check.catalogue import PROBES, select
from pagelet_bench.core.check.target import Target
from pagelet_bench.core.check.verdict import Verdict
from pagelet_bench.server_process import free_port

FEW = select(["basic.usage", "errors.object", "sampling.seed"])


async def ran(url, probes=FEW, limit_s=60.0):
    seen = []
    async with Wire(url, KEY, timeout_s=5.0) as wire:
        outcomes = await run_probes(
            wire, Target(model=MODEL), probes, limit_s=limit_s, on_outcome=seen.append
        )
    assert tuple(seen) == outcomes
    assert [outcome.probe for outcome in outcomes] == list(probes)
    return outcomes


async def test_every_probe_gets_its_finding_in_order():
    async with serving() as url:
        outcomes = await ran(url)
    assert {outcome.finding.verdict for outcome in outcomes} == {Verdict.HONOURED}
    assert [len(outcome.exchanges) for outcome in outcomes] == [1, 4, 1]


async def test_when_the_time_is_over_the_rest_is_not_testable_and_not_asked():
    async with serving() as url:
        outcomes = await ran(url, limit_s=0.0)
    assert not [outcome.exchanges for outcome in outcomes if outcome.exchanges]
    assert {outcome.finding.evidence for outcome in outcomes} == {"the check's 0 s were over"}


async def test_an_endpoint_that_has_gone_is_asked_three_times_and_no_more():
    outcomes = await ran(f"http://127.0.0.1:{free_port()}", PROBES[:9])
    assert sum(len(outcome.exchanges) for outcome in outcomes) == 3
    assert [outcome.finding.verdict for outcome in outcomes[:3]] == [Verdict.BROKEN] * 3
    rest = {outcome.finding.evidence for outcome in outcomes[3:]}
    assert rest == {f"the endpoint answers nothing since {PROBES[2].id}"}


async def test_an_endpoint_that_answers_wrongly_has_not_gone():
    wrong = Script([b"oops"], status=500, content_type="application/json")
    async with ScriptedServer(lambda _: wrong).listening() as server:
        outcomes = await ran(server.url, PROBES[:6])
    assert {outcome.finding.verdict for outcome in outcomes} == {Verdict.BROKEN}
    assert len(server.bodies) == 6
