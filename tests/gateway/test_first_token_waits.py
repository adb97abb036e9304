import asyncio
import json
import re

import aiohttp
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import GaugeMetricFamily

from gateway_faults import never_begins, stalls_in_the_stream
from gateway_in_process import gateway_in_process
from gateway_process import WAIT_S, model, until
from gateway_upstream import Upstream, Wire
from pagelet_gateway.first_token_waits import FirstTokenWaits
from pagelet_gateway.metrics import TTFT_BUCKETS_S

KEY = ("m", "m-1")


def told(family: GaugeMetricFamily) -> dict[tuple[str, str], float]:
    return {(s.labels["revision"], s.labels["le"]): s.value for s in family.samples}


def test_a_known_revision_without_waiters_is_told_in_zeros():
    (family,) = FirstTokenWaits((1.0, 2.0), {KEY}).collect()
    assert told(family) == {("m-1", "1.0"): 0, ("m-1", "2.0"): 0, ("m-1", "+Inf"): 0}


@given(st.lists(st.floats(0, 300) | st.sampled_from(TTFT_BUCKETS_S), max_size=30))
def test_each_bound_counts_those_that_have_waited_no_longer(waits):
    series = FirstTokenWaits(TTFT_BUCKETS_S, ())
    series.watch(lambda now: ((KEY, waited) for waited in waits))
    (family,) = series.collect()
    found = told(family)
    assert found.get(("m-1", "+Inf"), 0) == len(waits)
    for bound in TTFT_BUCKETS_S if waits else ():
        assert found["m-1", str(bound)] == sum(waited <= bound for waited in waits)


async def falls_silent_after_a_role(wire: Wire) -> None:
    await wire.start_stream()
    delta = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
    await wire.part(b"data: " + json.dumps(delta).encode() + b"\n\n")
    await asyncio.sleep(60)


async def waiting(session: aiohttp.ClientSession, url: str, name: str) -> float:
    async with session.get(url + "/metrics") as answer:
        text = await answer.text()
    series = "pagelet_gateway_waiting_for_first_token"
    found = re.findall(rf'^{series}{{le="\+Inf",model="{name}",.*}} (\S+)$', text, re.M)
    return float(found[0]) if found else 0.0


async def ask(session: aiohttp.ClientSession, url: str, name: str, *, stream: bool) -> None:
    body = {"model": name, "stream": stream, "messages": []}
    async with session.post(url + "/v1/chat/completions", json=body) as answer:
        await answer.read()


async def test_streams_without_a_token_wait_until_their_client_leaves(tmp_path, session):
    async with Upstream(never_begins) as silent, Upstream(falls_silent_after_a_role) as mute:
        models = (
            model("silent", {"s": (100, [silent.url])}),
            model("mute", {"m": (100, [mute.url])}),
        )
        async with gateway_in_process(tmp_path, *models) as url:
            wanted = [("silent", True), ("silent", True), ("silent", False), ("mute", True)]
            asked = [
                asyncio.create_task(ask(session, url, name, stream=stream))
                for name, stream in wanted
            ]
            await until(lambda: len(silent.received) == 3 and len(mute.received) == 1)
            assert await waiting(session, url, "silent") == 2, "a whole answer has no first token"
            assert await waiting(session, url, "mute") == 1
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
            async with asyncio.timeout(WAIT_S):
                for name in ("silent", "mute"):
                    while await waiting(session, url, name):
                        pass


async def test_a_stream_that_has_begun_waits_no_longer_though_it_stalls(tmp_path, session):
    async with (
        Upstream(stalls_in_the_stream) as engine,
        gateway_in_process(tmp_path, model("m", {"m-1": (100, [engine.url])})) as url,
    ):
        body = {"model": "m", "stream": True, "messages": []}
        async with session.post(url + "/v1/chat/completions", json=body) as answer:
            await answer.content.readany()
            async with asyncio.timeout(WAIT_S):
                while await waiting(session, url, "m"):
                    pass
