"""Engines that fall silent, clients that do not read; real sockets, a real gateway process."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_faults import stalls_in_the_stream
from gateway_process import WAIT_S, GatewayProcess, model, post, samples, tokens, until
from gateway_upstream import Upstream, Wire, streams

PATH = "/v1/chat/completions"
NUM_READERS = 50
MIB = 2**20


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    options = ("--stream-idle-timeout", "0.6", "--slow-reader-timeout", "1")
    with GatewayProcess(folder, *options) as process:
        yield process
        assert process.stop() == 0
        assert process.log("bug") == []


async def test_a_stream_that_falls_silent_ends_with_an_error_event(gateway, session):
    async with Upstream(stalls_in_the_stream) as engine:
        gateway.apply(model("m", {"m-1": (100, [engine.url])}))
        started_at = time.monotonic()
        status, body, _ = await post(session, gateway.url + PATH, {"model": "m", "stream": True})
        assert status == 200
        assert b"[DONE]" not in body
        last = json.loads(body.strip().split(b"data: ")[-1])
        assert last["error"]["code"] == "stream_stalled"
        assert time.monotonic() - started_at >= 0.6
        async with asyncio.timeout(WAIT_S):
            await engine.abandoned.wait()
        assert (await samples(session, gateway, "streams_cut_total"))["m:stalled"] == 1


async def test_what_goes_wrong_behind_the_end_mark_is_no_error(gateway, session):
    async def stays(wire: Wire) -> None:
        await wire.start_stream()
        await wire.token("a")
        await wire.part(b"data: [DONE]\n\n")
        await asyncio.sleep(60)

    async def drops(wire: Wire) -> None:
        await wire.start_stream()
        await wire.token("a")
        await wire.part(b"data: [DONE]\n\n")
        await asyncio.sleep(0.1)
        wire.reset()

    for script in (stays, drops):
        async with Upstream(script) as engine:
            gateway.apply(model("done", {"d-1": (100, [engine.url])}))
            ask = {"model": "done", "stream": True}
            status, body, _ = await post(session, gateway.url + PATH, ask)
            assert (status, tokens(body)) == (200, "a")
    assert (await samples(session, gateway, "requests_total"))["done:ok"] == 2


async def test_an_endpoint_that_stalls_is_left_alone(gateway, session):
    async with Upstream(stalls_in_the_stream) as bad, Upstream(streams("a")) as good:
        gateway.apply(model("two", {"t-1": (100, [bad.url, good.url])}))
        for _ in range(20):
            await post(session, gateway.url + PATH, {"model": "two", "stream": True})
        assert len(bad.received) == 5
        assert len(good.received) == 15


async def test_comments_are_life(gateway, session):
    async def thinks(wire: Wire) -> None:
        await wire.start_stream()
        await wire.token("a ")
        for _ in range(10):  # longer than the limit on silence, each pause far below it
            await asyncio.sleep(0.1)
            await wire.part(b": keep-alive\n\n")
        await wire.token("b")
        await wire.end_stream()

    async with Upstream(thinks) as engine:
        gateway.apply(model("m", {"m-1": (100, [engine.url])}))
        _, body, _ = await post(session, gateway.url + PATH, {"model": "m", "stream": True})
        assert tokens(body) == "a b"


def resident_bytes(process_id: int) -> int:
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


async def test_readers_that_do_not_read_cost_little_and_are_cut(gateway, session):
    async def floods(wire: Wire) -> None:
        await wire.start_stream()
        while True:
            await wire.token("x" * 16_000)

    async with Upstream(floods) as engine, Upstream(streams(*"abcdefgh", pause_s=0.3)) as other:
        gateway.apply(
            model("flood", {"f-1": (100, [engine.url])}), model("o", {"o-1": (100, [other.url])})
        )
        before = resident_bytes(gateway.process.pid)
        most = before
        port = int(gateway.url.rpartition(":")[2])
        body = b'{"model": "flood", "stream": true}'
        head = b"POST %b HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n"
        writers = []
        for _ in range(NUM_READERS):
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            writer.write(head % (PATH.encode(), len(body)) + body)
            writer.transport.pause_reading()
            writers.append(writer)
        await until(lambda: len(engine.received) == NUM_READERS)
        sound = asyncio.create_task(
            post(session, gateway.url + PATH, {"model": "o", "stream": True})
        )
        async with asyncio.timeout(WAIT_S):
            while engine.num_open:  # until all are cut
                most = max(most, resident_bytes(gateway.process.pid))
                await asyncio.sleep(0.05)
        assert tokens((await sound)[1]) == "abcdefgh"
        grown = most - before
        print("resident MiB before", before / MIB, "grown by", grown / MIB)
        # Per reader: the kernel's buffers are not ours; 64 KiB to the client, 128 from the engine.
        assert grown < NUM_READERS * MIB
        for writer in writers:
            writer.transport.abort()
        cut = await samples(session, gateway, "streams_cut_total")
        assert cut["flood:slow_reader"] == NUM_READERS
        assert (await samples(session, gateway, "requests_in_flight"))["flood:"] == 0
