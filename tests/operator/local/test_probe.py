import asyncio
from contextlib import suppress

import pytest

from pagelet_operator.local.probe import Answer, HttpProbe


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Answer.READY),
        (b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", Answer.NOT_READY),
        (b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n", Answer.NOT_READY),
        (b"this is no HTTP\r\n\r\n", Answer.SILENT),
        (b"", Answer.SILENT),
        (None, Answer.SILENT),
    ],
)
async def test_only_a_good_answer_is_ready(reply, answer, monkeypatch):
    monkeypatch.setattr("pagelet_operator.local.probe.TIMEOUT_S", 0.5)

    served = asyncio.Event()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        if reply is None:
            await reader.read()  # until the probe gives up
        writer.write(reply or b"")
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        served.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, HttpProbe() as probe:
        assert await probe(f"http://127.0.0.1:{port}/readyz") is answer
        await served.wait()


async def test_nobody_listening_is_silence():
    async with HttpProbe() as probe:
        assert await probe("http://127.0.0.1:1/readyz") is Answer.SILENT
