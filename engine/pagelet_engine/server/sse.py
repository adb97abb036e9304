"""Server-sent events: from text streams to OpenAI's chunks, and from chunks to a response.

A stream ends in `data: [DONE]` only if every sequence ended by itself. One that breaks ends in
`data: {"error": ...}` and nothing after it, so that no client takes half an answer for a whole.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack, aclosing

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pagelet_engine.errors import EngineError
from pagelet_engine.server.disconnect import unless_disconnected
from pagelet_engine.server.errors import reply_for
from pagelet_engine.server.openai_objects import Format, Json, usage
from pagelet_engine.server.text_stream import TextDelta, TextStream

DONE = b"data: [DONE]\n\n"
_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


async def chunks(
    streams: Sequence[TextStream], form: Format, *, include_usage: bool
) -> AsyncGenerator[Json]:
    """Yield the chunk objects of one answer, in the order clients expect.

    Raises:
        EngineError: A sequence could not be finished.
    """
    opened: set[int] = set()
    async with aclosing(merge(streams)) as deltas:
        async for index, delta in deltas:
            if index not in opened:
                opened.add(index)
                opening = form.opening(index)
                if opening is not None:
                    yield opening
            if delta.text:
                yield form.text(index, delta.text)
            if delta.finish_reason is not None:
                yield form.end(index, delta.finish_reason)
    if include_usage:
        yield form.with_usage(usage(streams))


async def merge(streams: Sequence[TextStream]) -> AsyncGenerator[tuple[int, TextDelta]]:
    """Yield every stream's deltas with its index, as they come.

    Raises:
        EngineError: That of the first stream to fail; the others are left to the caller.
    """
    if len(streams) == 1:  # PERF: no task and no queue between engine and socket
        async for delta in streams[0].deltas():
            yield 0, delta
        return
    queue: asyncio.Queue[tuple[int, TextDelta | EngineError | None]] = asyncio.Queue(len(streams))
    tasks = [
        asyncio.create_task(_pump(index, stream, queue)) for index, stream in enumerate(streams)
    ]
    num_open = len(streams)
    try:
        while num_open:
            index, item = await queue.get()
            if isinstance(item, EngineError):
                raise item
            if item is None:
                num_open -= 1
            else:
                yield index, item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(
    index: int,
    stream: TextStream,
    queue: "asyncio.Queue[tuple[int, TextDelta | EngineError | None]]",
) -> None:
    try:
        async for delta in stream.deltas():
            await queue.put((index, delta))
        await queue.put((index, None))
    except EngineError as error:
        await queue.put((index, error))


class EventStream(Response):
    """Sends chunks as they come; stops at once when the client leaves."""

    media_type = "text/event-stream"

    def __init__(self, first: Json, rest: AsyncGenerator[Json], on_end: ExitStack) -> None:
        """Prepare.

        Args:
            first: The first chunk: an error before it is still a proper HTTP response.
            rest: The chunks after it.
            on_end: Closed however the response ends.
        """
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._first = first
        self._rest = rest
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the whole stream."""
        with self._on_end:
            async with aclosing(self._rest):
                await unless_disconnected(receive, self._send_all(send))

    async def _send_all(self, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        await _send(send, event(self._first))
        ending = DONE
        try:
            async for chunk in self._rest:
                await _send(send, event(chunk))
        except EngineError as error:
            ending = b"data: " + reply_for(error).body() + b"\n\n"
        await _send(send, ending)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def event(chunk: Json) -> bytes:
    """Return one chunk as an event."""
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


async def _send(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})
