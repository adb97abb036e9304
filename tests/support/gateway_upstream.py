"""A scripted engine on a real socket: streams, stalls, refuses and dies on command.

Speaks just enough HTTP/1.1 (keep-alive, Content-Length requests, chunked or sized answers),
by hand, so that it can also break it.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


class Wire:
    """The engine's side of one request."""

    def __init__(self, writer: asyncio.StreamWriter, received: Received) -> None:
        self.received = received
        self._writer = writer
        self.keep_alive = True

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def reply(self, status: int, body: object, **headers: str) -> None:
        data = json.dumps(body).encode()
        await self.head(
            status, content_type="application/json", content_length=str(len(data)), **headers
        )
        await self.raw(data)

    async def head(self, status: int, **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} Whatever"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.raw("\r\n".join([*lines, "", ""]).encode())

    async def start_stream(self) -> None:
        await self.head(200, content_type="text/event-stream", transfer_encoding="chunked")

    async def part(self, data: bytes) -> None:
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    async def token(self, text: str) -> None:
        await self.part(event(text))

    async def end_stream(self, *, done: bool = True) -> None:
        if done:
            await self.part(b"data: [DONE]\n\n")
        await self.raw(b"0\r\n\r\n")

    def reset(self) -> None:
        """Drop the connection."""
        self.keep_alive = False
        self._writer.transport.abort()


Script = Callable[[Wire], Awaitable[None]]


def event(text: str) -> bytes:
    """A chat chunk as a client of OpenAI expects it."""
    chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
    }
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def streams(*tokens: str, pause_s: float = 0.0) -> Script:
    """Answer with these tokens and [DONE]."""

    async def script(wire: Wire) -> None:
        await wire.start_stream()
        for token in tokens:
            await wire.token(token)
            await asyncio.sleep(pause_s)
        await wire.end_stream()

    return script


async def answers(wire: Wire) -> None:
    """Answer as the request asks: five tokens, streamed or whole."""
    request = json.loads(wire.received.body)
    if request.get("stream"):
        await streams("one ", "two ", "three ", "four ", "five")(wire)
        return
    message = {"role": "assistant", "content": "one two three four five"}
    await wire.reply(
        200,
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": request["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        },
    )


async def refuses_to_drain(wire: Wire) -> None:
    """What an engine answers while it drains."""
    error = {"message": "draining", "type": "server_error", "param": None, "code": "draining"}
    await wire.reply(503, {"error": error}, x_pagelet_draining="1", retry_after="1")


async def resets(wire: Wire) -> None:
    """Drop the connection without an answer."""
    wire.reset()


@dataclass(slots=True)
class Upstream:
    """A scripted engine; `async with Upstream() as engine`."""

    script: Script = answers
    port: int = 0
    host: str = "127.0.0.1"
    received: list[Received] = field(default_factory=list)
    num_connections: int = 0
    """Connections ever accepted."""
    num_open: int = 0
    """Requests being answered."""
    num_abandoned: int = 0
    """Requests whose client left before the answer's end."""
    abandoned: asyncio.Event = field(default_factory=asyncio.Event)
    is_draining: bool = False
    sees_metrics: bool = False
    """Whether the script answers GET /metrics, too, which gateways ask for on their own."""
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def num_connected(self) -> int:
        """Connections that are open."""
        return len(self._tasks)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def __aenter__(self) -> "Upstream":
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_listening()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.gather(*self._tasks)

    async def listen(self) -> None:
        """Open the listening socket; a second call reopens the same port."""
        self._server = await asyncio.start_server(self._connected, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop_listening(self) -> None:
        """Refuse new connections; open ones go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        self.num_connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._serve_one(reader, writer):
                pass
        self._writers.discard(writer)
        writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        wire = Wire(writer, Received(head[0].split()[1], headers, body))
        if wire.received.path == "/metrics" and not self.sees_metrics:
            await wire.reply(404, {})
            return True
        self.received.append(wire.received)
        await self._answer(wire, reader)
        return wire.keep_alive and self._server is not None

    async def _answer(self, wire: Wire, reader: asyncio.StreamReader) -> None:
        """Run the script; a client that leaves ends it."""
        self.num_open += 1
        script = refuses_to_drain if self.is_draining else self.script
        work = asyncio.ensure_future(script(wire))
        # Nothing more comes from this client unless it leaves: then the read ends.
        gone = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() or isinstance(work.exception(), ConnectionError):
                self.num_abandoned += 1
                self.abandoned.set()
                wire.keep_alive = False
                work.cancel()
        finally:
            for task in (work, gone):
                task.cancel()
            results = await asyncio.gather(work, gone, return_exceptions=True)
            self.num_open -= 1
        for result in results[:1]:
            if isinstance(result, Exception) and not isinstance(result, ConnectionError):
                raise result
