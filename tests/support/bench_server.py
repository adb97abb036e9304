"""An OpenAI-like server that does exactly what a script says, over a real socket.

It writes HTTP by hand, so that a test decides where a chunk ends and when a connection breaks.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

Body = dict[str, Any]

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Script:
    """One answer: bytes are sent, floats are waited in seconds; then it ends or breaks."""

    steps: Sequence[bytes | float]
    status: int = 200
    content_type: str = "text/event-stream"
    breaks: bool = False
    location: str = "/"


def event(body: object) -> bytes:
    """Write one server-sent event."""
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def token(text: str = "x", finish: str | None = None) -> bytes:
    """Write the event of one token."""
    return event({"choices": [{"index": 0, "text": text, "finish_reason": finish}]})


def usage(prompt_tokens: int, output_tokens: int) -> bytes:
    """Write the usage event that ends a stream."""
    counts = {"prompt_tokens": prompt_tokens, "completion_tokens": output_tokens}
    return event({"choices": [], "usage": counts})


def completion(body: Body, *, first_s: float = 0.0, gap_s: float = 0.0) -> Script:
    """Answer as asked: the first token after `first_s`, each further one after `gap_s`."""
    steps: list[bytes | float] = [first_s]
    for number in range(body["max_tokens"]):
        is_last = number == body["max_tokens"] - 1
        steps += [gap_s] if number else []
        steps.append(token(finish="length" if is_last else None))
    steps += [usage(len(body["prompt"]), body["max_tokens"]), DONE]
    return Script(steps)


def chat_answer(body: Body) -> Script:
    """Answer a chat with as many words as asked for."""
    opening: Body = {"delta": {"role": "assistant", "content": ""}, "finish_reason": None}
    deltas: list[Body] = [opening]
    deltas += [
        {"delta": {"content": f"w{n} "}, "finish_reason": None} for n in range(body["max_tokens"])
    ]
    deltas.append({"delta": {}, "finish_reason": "length"})
    said = sum(len(message["content"].split()) for message in body["messages"])
    events = [event({"choices": [{"index": 0, **delta}]}) for delta in deltas]
    return Script([*events, usage(said, body["max_tokens"]), DONE])


def refusal(status: int, message: str) -> Script:
    """Answer with an OpenAI error object."""
    error = {"error": {"message": message, "type": "invalid_request_error", "code": "no"}}
    return Script([json.dumps(error).encode()], status=status, content_type="application/json")


def is_trial(body: Body) -> bool:
    """Whether this is the probe's request rather than part of a load."""
    return bool(body["max_tokens"] == 2)


@dataclass
class ScriptedServer:
    """A listening server.

    Attributes:
        bodies: Every completion request that came, in order.
        most_in_flight: Most completion requests that were being answered at once.
    """

    respond: Callable[[Body], Script]
    models: Sequence[str] = ("m",)
    metrics: Callable[[], str] = str
    bodies: list[Body] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    url: str = ""

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator["ScriptedServer"]:
        """Listen on the loopback address until the block ends; by default on a free port."""
        handlers: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
            handlers.add(task)
            task.add_done_callback(handlers.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in list(handlers):
                task.cancel()
            await asyncio.gather(*handlers, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head.decode(), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if head.startswith("GET /v1/models "):
            listed = {"object": "list", "data": [{"id": name} for name in self.models]}
            await _send(writer, Script([json.dumps(listed).encode()], 200, "application/json"))
            return
        if head.startswith("GET /metrics "):
            self.headers.append(head)
            await _send(writer, Script([self.metrics().encode()], 200, "text/plain"))
            return
        lengths = [
            line.partition(":")[2]
            for line in head.splitlines()
            if line.lower().startswith("content-length")
        ]
        body = json.loads(await reader.readexactly(int(lengths[0])))
        self.bodies.append(body)
        self.headers.append(head)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await _send(writer, self.respond(body))
        finally:
            self.in_flight -= 1


async def _send(writer: asyncio.StreamWriter, script: Script) -> None:
    writer.write(
        f"HTTP/1.1 {script.status} Scripted\r\nContent-Type: {script.content_type}\r\n"
        f"Location: {script.location}\r\n"
        f"Transfer-Encoding: chunked\r\n\r\n".encode()
    )
    for step in script.steps:
        if isinstance(step, float):
            await writer.drain()
            await asyncio.sleep(step)
        elif step:
            writer.write(f"{len(step):x}\r\n".encode() + step + b"\r\n")
    if script.breaks:
        await writer.drain()
        raise ConnectionResetError
    writer.write(b"0\r\n\r\n")
    await writer.drain()
