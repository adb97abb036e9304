"""Raw sockets: requests that two readers could read in two ways, heads without end, silence."""

import asyncio
import re
import socket
from collections import Counter
from contextlib import ExitStack

import pytest

from gateway_in_process import gateway_in_process
from gateway_process import WAIT_S, GatewayProcess, model, post, tokens, until
from gateway_upstream import Upstream, answers, streams
from pagelet_gateway.server.connections import (
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    ambiguity,
    is_head_too_large,
)

BODY = b'{"model": "m", "messages": []}'
LINE = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n"
JSON = b"content-type: application/json\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"


def sized(body: bytes = BODY) -> bytes:
    return b"content-length: %d\r\n" % len(body)


def chunked(body: bytes = BODY) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


REFUSED = {
    "CL and TE": LINE + sized() + CHUNKED + b"\r\n" + chunked() + SMUGGLED,
    "TE and CL": LINE + CHUNKED + b"content-length: 4\r\n\r\n" + chunked() + SMUGGLED,
    "two TE": LINE + CHUNKED + CHUNKED + b"\r\n" + chunked() + SMUGGLED,
    "TE twice in one": LINE + b"transfer-encoding: chunked, chunked\r\n\r\n" + chunked(),
    "TE identity": LINE + b"transfer-encoding: identity\r\n\r\n" + BODY,
    "TE gzip, chunked": LINE + b"transfer-encoding: gzip, chunked\r\n\r\n" + chunked(),
    "TE unknown": LINE + b"transfer-encoding: xchunked\r\n" + sized() + b"\r\n" + BODY,
    "TE with a tab before": LINE + b"transfer-encoding:\x0bchunked\r\n" + sized() + b"\r\n" + BODY,
    "TE with a space in the name": LINE + b"transfer-encoding : chunked\r\n\r\n" + chunked(),
    "CL and another CL": LINE + sized() + b"content-length: 3\r\n\r\n" + BODY,
    "CL twice the same": LINE + sized() + sized() + b"\r\n" + BODY,
    "CL as a list": LINE + b"content-length: 30, 30\r\n\r\n" + BODY,
    "CL with a sign": LINE + b"content-length: +30\r\n\r\n" + BODY,
    "CL negative": LINE + b"content-length: -1\r\n\r\n" + BODY,
    "CL in hex": LINE + b"content-length: 0x1e\r\n\r\n" + BODY,
    "CL empty": LINE + b"content-length:\r\n\r\n" + BODY,
    "CL beyond 64 bits": LINE + b"content-length: 99999999999999999999\r\n\r\n" + BODY,
    "CL with a space inside": LINE + b"content-length: 3 0\r\n\r\n" + BODY,
    "bare LF": (LINE + sized() + b"\r\n").replace(b"\r\n", b"\n") + BODY,
    "bare LF in a header": LINE + b"x: 1\ny: 2\r\n" + sized() + b"\r\n" + BODY,
    "bare CR in a header": LINE + b"x: 1\ry: 2\r\n" + sized() + b"\r\n" + BODY,
    "obs-fold": LINE + b"x: 1\r\n folded\r\n" + sized() + b"\r\n" + BODY,
    "obs-fold of TE": LINE + b"transfer-encoding:\r\n chunked\r\n\r\n" + chunked(),
    "NUL in a value": LINE + b"x: a\x00b\r\n" + sized() + b"\r\n" + BODY,
    "NUL in a name": LINE + b"x\x00: a\r\n" + sized() + b"\r\n" + BODY,
    "a header without a colon": LINE + b"nonsense\r\n" + sized() + b"\r\n" + BODY,
    "a header without a name": LINE + b": a\r\n" + sized() + b"\r\n" + BODY,
    "two hosts": LINE + b"host: b\r\n" + sized() + b"\r\n" + BODY,
    "no host": b"POST /v1/chat/completions HTTP/1.1\r\n" + sized() + b"\r\n" + BODY,
    "two keys": LINE + b"authorization: Bearer a\r\n" * 2 + sized() + b"\r\n" + BODY,
    "a chunk size beyond 64 bits": LINE + CHUNKED + b"\r\nfffffffffffffffff\r\n" + BODY,
    "a chunk size that is none": LINE + CHUNKED + b"\r\nxyz\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a negative chunk size": LINE + CHUNKED + b"\r\n-1e\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk longer than its size": LINE + CHUNKED + b"\r\n3\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk that ends in LF": LINE + CHUNKED + b"\r\n1e\n" + BODY + b"\n0\n\n",
    "TE in HTTP/1.0": LINE.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n" + chunked(),
    "HTTP/0.9": b"GET /v1/models\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an unknown version": LINE.replace(b"1.1", b"1.9") + sized() + b"\r\n" + BODY,
    "a method nobody knows": b"BREW" + LINE[4:] + sized() + b"\r\n" + BODY,
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a space in the target": b"POST /v1/chat completions HTTP/1.1\r\nhost: a\r\n\r\n",
    "a huge header": LINE + b"x: " + b"a" * 2**20 + b"\r\n\r\n",
    "a huge target": b"GET /" + b"a" * 2**20 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
    "many headers": LINE + b"".join(b"x%d: a\r\n" % n for n in range(MAX_HEADERS)) + b"\r\n",
    "headers without end": LINE + b"a: b\r\n" * 2**16,
    "chunk extensions without end": LINE + CHUNKED + b"\r\n1;" + b"a" * 2**20,
    "trailers without end": LINE + CHUNKED + b"\r\n0\r\n" + b"a: b\r\n" * 2**16,
    "upgrade with data": LINE + b"connection: upgrade\r\nupgrade: h2c\r\n\r\n" + SMUGGLED,
    "CONNECT": b"CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n" + SMUGGLED,
}  # fmt: skip

READ = {
    "absolute form": LINE.replace(b"/v1", b"http://elsewhere/v1") + sized() + b"\r\n" + BODY,
    "chunk extensions": LINE + CHUNKED + b"\r\n1e;a=b\r\n" + BODY + b"\r\n0;c\r\n\r\n",
    "trailers": LINE + CHUNKED + b"\r\n1e\r\n" + BODY + b"\r\n0\r\nx-pagelet-revision: z\r\n\r\n",
    "HTTP/1.0": LINE.replace(b"1.1", b"1.0") + sized() + b"\r\n" + BODY,
    "HTTP/1.0 keep-alive": LINE.replace(b"1.1", b"1.0")
    + b"connection: keep-alive\r\n" + sized() + b"\r\n" + BODY,
    "pipelined": (LINE + sized() + b"\r\n" + BODY) * 3,
    "an empty line first": b"\r\n" + LINE + sized() + b"\r\n" + BODY,
}  # fmt: skip


async def told(gateway: GatewayProcess, data: bytes, *, ends: bool = True) -> bytes:
    """Send bytes and return all that comes back until the gateway closes, or falls silent."""
    port = int(gateway.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        writer.write(data)
        while True:
            async with asyncio.timeout(WAIT_S if ends else 1.0):
                part = await reader.read(65536)
            if not part:
                return answer
            answer += part
    except TimeoutError:
        assert not ends, f"neither an answer nor an end: {data[:80]!r}"
        return answer
    except ConnectionError:
        return answer  # closed while we were still sending
    finally:
        writer.transport.abort()


def statuses(answer: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


async def test_what_could_be_read_in_two_ways_is_refused_and_reaches_no_engine(gateway, session):
    async with Upstream(answers) as engine, Upstream(streams(*"abcdefgh", pause_s=0.2)) as other:
        gateway.apply(
            model("m", {"m-1": (100, [engine.url])}), model("o", {"o-1": (100, [other.url])})
        )
        bystander = asyncio.create_task(
            post(session, gateway.url + "/v1/chat/completions", {"model": "o", "stream": True})
        )
        await until(lambda: bool(other.received))
        found = await asyncio.gather(*(told(gateway, data) for data in REFUSED.values()))
        ends = Counter()
        for name, answer in zip(REFUSED, found, strict=True):
            codes = statuses(answer)
            assert len(codes) <= 1, (name, answer)
            assert set(codes) <= {400, 404, 405, 408, 413, 431, 501, 505}, (name, answer)
            ends[codes[0] if codes else "closed"] += 1
        print("refused", len(REFUSED), ends)
        assert engine.received == []
        assert tokens((await bystander)[1]) == "abcdefgh"


async def test_what_is_odd_and_clear_is_read_once_and_right(gateway, session):
    async with Upstream(answers) as engine:
        gateway.apply(model("m", {"m-1": (100, [engine.url])}))
        for name, data in READ.items():
            engine.received.clear()
            answer = await told(gateway, data, ends=False)
            wanted = 3 if name == "pipelined" else 1
            assert statuses(answer) == [200] * wanted, (name, answer)
            assert [item.body for item in engine.received] == [BODY] * wanted, name
            assert b"x-pagelet-revision: m-1" in answer


async def test_what_follows_a_refused_request_is_no_request(gateway, session):
    async with Upstream(answers) as engine:
        gateway.apply(model("m", {"m-1": (100, [engine.url])}))
        good = LINE + sized() + b"\r\n" + BODY
        for bad in (REFUSED["CL and TE"], REFUSED["two hosts"], REFUSED["bare LF"]):
            assert statuses(await told(gateway, bad + good)) in ([400], [])
        await asyncio.sleep(0.2)  # what came through would be on its way
        assert engine.received == []


async def test_garbage_behind_a_request_does_not_get_into_its_answer(gateway, session):
    async with Upstream(streams("a ", "b", pause_s=0.2)) as engine:
        gateway.apply(model("m", {"m-1": (100, [engine.url])}))
        ask = b'{"model": "m", "stream": true}'
        answer = await told(gateway, LINE + sized(ask) + b"\r\n" + ask + b"\x00garbage\r\n\r\n")
        assert len(statuses(answer)) <= 1
        assert b"400" not in answer.partition(b"\r\n\r\n")[2]
        await until(lambda: not engine.num_open)


def test_the_limits_of_a_head_are_counted_in_bytes_and_fields():
    assert not is_head_too_large([(b"a", b"b" * (MAX_HEAD_BYTES - 2))], b"/")
    assert is_head_too_large([(b"a", b"b" * (MAX_HEAD_BYTES - 1))], b"/")
    assert not is_head_too_large([(b"", b"")] * MAX_HEADERS, b"")
    assert is_head_too_large([(b"", b"")] * (MAX_HEADERS + 1), b"")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_usual_heads_are_clear(version):
    head = [(b"host", b"a"), (b"content-length", b"3"), (b"accept", b"a"), (b"accept", b"b")]
    assert ambiguity(head, version) is None
    assert ambiguity([(b"host", b"a")], version) is None


UNCLEAR = [
    ([(b"content-length", b"3"), (b"content-length", b"3")], "1.0"),
    ([(b"content-length", b"+3")], "1.0"),
    ([(b"content-length", b"")], "1.0"),
    ([(b"transfer-encoding", b"chunked"), (b"host", b"a"), (b"content-length", b"3")], "1.1"),
    ([(b"transfer-encoding", b"gzip"), (b"host", b"a")], "1.1"),
    ([(b"transfer-encoding", b"chunked")], "1.0"),
    ([(b"upgrade", b"h2c"), (b"host", b"a")], "1.1"),
    ([(b"accept", b"a")], "1.1"),
    ([(b"host", b"a")], "2.0"),
    ([(b"authorization", b"a"), (b"authorization", b"b")], "1.0"),
]


@pytest.mark.parametrize(("head", "version"), UNCLEAR)
def test_unclear_heads_are_told_apart_from_usual_ones(head, version):
    assert ambiguity(head, version)


async def test_heads_and_bodies_that_trickle_end_in_time_beside_a_sound_stream(tmp_path, session):
    async with Upstream(streams(*"abcdefgh", pause_s=0.3)) as engine:
        with GatewayProcess(tmp_path, "--head-timeout", "1") as gateway:
            gateway.apply(model("m", {"m-1": (100, [engine.url])}))
            url = gateway.url + "/v1/chat/completions"
            stream = asyncio.create_task(post(session, url, {"model": "m", "stream": True}))
            slow = [asyncio.create_task(trickle(gateway)) for _ in range(100)]
            silent = [asyncio.create_task(told(gateway, b"")) for _ in range(20)]
            after_first = [asyncio.create_task(trickle_after_a_request(gateway)) for _ in range(20)]
            for end in await asyncio.gather(*slow):
                assert statuses(end) in ([408], [])
            assert set(await asyncio.gather(*silent)) == {b""}
            for end in await asyncio.gather(*after_first):
                assert statuses(end)[0] == 200
                assert statuses(end)[1:] in ([408], [])
            assert tokens((await stream)[1]) == "abcdefgh"
            assert len(engine.received) == 1
            assert gateway.stop() == 0


@pytest.mark.parametrize("early", [b"\r\n", b"GET /livez HTTP/1.1\r\n"])
async def test_what_a_client_sends_early_does_not_end_its_stream(tmp_path, session, early):
    async with Upstream(streams(*"abcdefgh", pause_s=0.3)) as engine:
        with GatewayProcess(tmp_path, "--head-timeout", "1") as gateway:
            gateway.apply(model("m", {"m-1": (100, [engine.url])}))
            ask = b'{"model": "m", "stream": true}'
            port = int(gateway.url.rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(LINE + sized(ask) + b"\r\n" + ask)
            await reader.readuntil(b"data:")
            writer.write(early)
            async with asyncio.timeout(WAIT_S):
                assert b"HTTP/1.1" not in await reader.readuntil(b"[DONE]")
            writer.transport.abort()


HEAD_BEGUN = b"GET /livez HTTP/1.1\r\nhost: a\r\nx: "


async def trickle(gateway: GatewayProcess, start: bytes = HEAD_BEGUN) -> bytes:
    """Send a head byte by byte, without end."""
    port = int(gateway.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = asyncio.ensure_future(reader.read())
    writer.write(start)
    try:
        async with asyncio.timeout(WAIT_S):
            while not answer.done():
                writer.write(b"a")
                await asyncio.sleep(0.05)
            return await answer
    except ConnectionError:
        return b""
    finally:
        answer.cancel()
        writer.transport.abort()


async def trickle_after_a_request(gateway: GatewayProcess) -> bytes:
    return await trickle(gateway, b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n" + HEAD_BEGUN)


async def test_bodies_that_never_end_shut_nobody_out(tmp_path, session, monkeypatch):
    monkeypatch.setattr("pagelet_gateway.server.connections.max_connections", lambda: 8)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n"
    async with Upstream(answers) as engine:
        route = model("m", {"m-1": (100, [engine.url])})
        async with gateway_in_process(tmp_path, route) as url:
            with ExitStack() as stack:
                for _ in range(8):
                    client = socket.create_connection(("127.0.0.1", int(url.split(":")[2])))
                    stack.enter_context(client).sendall(head + b"expect: 100-continue\r\n\r\n")
                    client.setblocking(False)
                    said = await asyncio.get_running_loop().sock_recv(client, 99)
                    assert b"100 Continue" in said  # the body is awaited
                for _ in range(3):
                    ask = {"model": "m"}
                    status, body, _ = await post(
                        session, url + "/v1/chat/completions", ask, connection="close"
                    )
                    assert status == 200, body
