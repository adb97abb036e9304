"""Streams with nothing to say, and readers that do not read."""

import asyncio
import json
import signal
import socket
from urllib.parse import urlsplit

import aiohttp
import pytest

from pagelet_engine.server.writer import Pace, SlowReaderError, StreamWriter
from pagelet_engine.testing_process import Fault
from server_client import request, stream, text_of
from server_process import echo_server

TEXT = "/v1/completions"
NUM_SLOW, NUM_FAST = 20, 20


async def test_a_full_buffer_cuts_the_connection_and_not_before_its_time():
    cut, room = asyncio.Event(), asyncio.Event()

    async def send(message):
        await room.wait()

    scope = {"state": {"abort_connection": cut.set}}
    with pytest.raises(SlowReaderError):
        await StreamWriter(scope, send, Pace(slow_reader_s=0.05)).write(b"x")
    assert cut.is_set()
    room.set()
    cut.clear()
    await StreamWriter(scope, send, Pace(slow_reader_s=0.05)).write(b"x")
    assert not cut.is_set()


async def test_comments_come_in_silences_only():
    sent = asyncio.Queue()

    async def send(message):
        sent.put_nowait(message["body"])

    writer = StreamWriter({}, send, Pace(keep_alive_s=0.05))
    task = asyncio.create_task(writer.keep_alive())
    async with asyncio.timeout(30):
        assert await sent.get() == b": keep-alive\n\n"
        assert await sent.get() == b": keep-alive\n\n"
        await writer.write(b"data: x\n\n")
        assert await sent.get() in (b"data: x\n\n", b": keep-alive\n\n")
    task.cancel()


def raw_lines(url, body):
    """Yield every line of a streamed answer, comments too."""
    parts = urlsplit(url)
    data = json.dumps(body | {"stream": True}).encode()
    head = f"POST {TEXT} HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as wire:
        wire.sendall(head.encode() + f"content-length: {len(data)}\r\n\r\n".encode() + data)
        with wire.makefile("rb") as lines:
            yield from lines


def test_a_long_wait_for_the_first_token_is_bridged_by_comments():
    arguments = ("--step-seconds", "0.02", "--max-num-seqs", "1")
    with echo_server(*arguments, listen={"keep_alive_s": 0.2}) as server:
        url = server.wait_ready()
        with stream(url, TEXT, {"model": "echo", "prompt": "a", "max_tokens": 60}) as running:
            next(running)
            waiting = {"model": "echo", "prompt": "hello", "max_tokens": 5}
            lines = [line for line in raw_lines(url, waiting) if line.startswith((b":", b"data"))]
        assert lines[0] == b": waiting\n"
        assert b": keep-alive\n" in lines
        events = [line[6:].decode().strip() for line in lines if line.startswith(b"data")]
        assert text_of(events) == "hello"
        assert events[-1] == "[DONE]"


def test_a_failure_after_the_first_comment_is_an_error_event_and_not_done():
    arguments = ("--step-seconds", "0.02", "--max-num-seqs", "1")
    with echo_server(*arguments, listen={"keep_alive_s": 0.1}) as server:
        url = server.wait_ready()
        with stream(url, TEXT, {"model": "echo", "prompt": "a", "max_tokens": 40}) as running:
            next(running)
            broken = {"model": "echo", "prompt": "a", "seed": int(Fault.NAN_AT_ONCE)}
            lines = [line for line in raw_lines(url, broken) if line.startswith(b"data")]
        assert [json.loads(line[6:])["error"]["code"] for line in lines] == ["generation_failed"]


def test_a_client_that_leaves_is_no_bug():
    with echo_server("--step-seconds", "0.02") as server:
        url = server.wait_ready()
        with stream(url, TEXT, {"model": "echo", "prompt": "a", "max_tokens": 1000}) as events:
            next(events)
        server.wait_for("client_left")
        server.signal(signal.SIGTERM)
        assert server.exit_code() == 0
        assert "Traceback" not in "".join(server.lines)


def never_read(url):
    """Ask for a long stream over a small buffer and read nothing of it."""
    parts = urlsplit(url)
    wire = socket.socket()
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wire.connect((parts.hostname, parts.port))
    body = {"model": "echo", "prompt": "a", "max_tokens": 16_000, "stream": True}
    data = json.dumps(body).encode()
    head = f"POST {TEXT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    wire.sendall(head.encode() + f"content-length: {len(data)}\r\n\r\n".encode() + data)
    return wire


async def read_all(session, url):
    text, last = "", ""
    body = {"model": "echo", "prompt": "fast", "max_tokens": 400, "stream": True}
    async with session.post(url + TEXT, json=body) as response:
        async for line in response.content:
            if line.startswith(b"data: "):
                last = line.decode().removeprefix("data: ").strip()
                text += text_of([last])
    return text, last


async def test_readers_that_do_not_read_are_cut_off_and_slow_nobody_down():
    listen = {"slow_reader_s": 1.0}
    with echo_server(
        "--max-model-len", "20000", "--step-seconds", "0.004", listen=listen
    ) as server:
        url = server.wait_ready()
        slow = [never_read(url) for _ in range(NUM_SLOW)]
        try:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
                fast = (read_all(session, url) for _ in range(NUM_FAST))
                for answer in await asyncio.gather(*fast):
                    assert answer == ("fast" * 100, "[DONE]")
            for _ in slow:
                server.wait_for("slow_reader_cut")
            metrics = request(url, "GET", "/metrics").body
            assert b'pagelet_engine_open_sequences{model_name="echo"} 0.0' in metrics
        finally:
            for wire in slow:
                wire.close()


def output_tokens(url):
    lines = request(url, "GET", "/metrics").body.decode().splitlines()
    name = "pagelet_engine_output_tokens_total"
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


async def test_a_reader_that_stops_holds_its_own_sequence_back_and_gets_all_later():
    with echo_server("--max-model-len", "20000") as server:
        url = server.wait_ready()
        wire = never_read(url)
        async with aiohttp.ClientSession() as session:
            slow, num_fast = -1.0, 0
            while slow != (slow := output_tokens(url) - num_fast):  # its buffers fill first
                assert await read_all(session, url) == ("fast" * 100, "[DONE]")
                num_fast += 400
        assert 0 < slow < 14_000  # the rest was not even produced
        events = []
        with wire, wire.makefile("rb") as lines:
            while events[-1:] != ["[DONE]"]:
                line = lines.readline()
                if line.startswith(b"data: "):
                    events.append(line[6:].decode().strip())
        assert text_of(events) == "a" * 16_000
