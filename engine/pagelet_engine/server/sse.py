"""Server-sent events: from text streams to OpenAI's chunks, and from chunks to a response.

A stream ends in `data: [DONE]` only if every sequence ended by itself. One that breaks ends in
`data: {"error": ...}` and nothing after it, so that no client takes half an answer for a whole.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack, aclosing
from functools import partial
from typing import TypeVar

import orjson
import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pagelet_engine.errors import EngineError
from pagelet_engine.server.disconnect import unless_disconnected
from pagelet_engine.server.errors import reply_for
from pagelet_engine.server.openai_objects import Format, Json, usage
from pagelet_engine.server.text_stream import TextDelta, TextStream, score_count
from pagelet_engine.server.writer import Pace, SlowReaderError, StreamWriter

DONE = b"data: [DONE]\n\n"
_INLINE_SCORES = 2000
"""Log-probabilities made into an answer on the event loop: about 5 microseconds each."""
_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
_log = structlog.get_logger(__name__)

Made = TypeVar("Made")


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
            if delta.text or delta.thought or delta.tokens:
                chunk = await unhurried([delta], partial(form.text, index, delta))
                if chunk is not None:
                    yield chunk
            if delta.finish_reason is not None:
                yield form.end(index, delta.finish_reason)
    if include_usage:
        yield form.with_usage(usage(streams))


async def unhurried(deltas: Sequence[TextDelta], make: Callable[[], Made]) -> Made:
    """Return what `make` makes of `deltas`; on a thread if that would hold up other streams."""
    num_scores = sum(score_count(delta) for delta in deltas)
    return make() if num_scores <= _INLINE_SCORES else await asyncio.to_thread(make)


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


async def begin(
    rest: AsyncGenerator[Json], receive: Receive, patience_s: float
) -> "asyncio.Task[Json]":
    """Wait for the first chunk, but not for ever; return the task that waits for it.

    Until something is sent, an error is a proper HTTP response and a gateway can try elsewhere;
    a client that hears nothing for longer than `patience_s` seconds would leave.

    Raises:
        EngineError: There is no first chunk.
        ClientDisconnect: The client left.
    """
    first = asyncio.ensure_future(anext(rest))
    try:
        await unless_disconnected(receive, asyncio.wait((first,), timeout=patience_s))
        return first if not first.done() else _raised(first)
    except BaseException:
        await _cancelled(first)
        raise


class EventStream(Response):
    """Sends chunks as they come; stops at once when the client leaves."""

    media_type = "text/event-stream"

    def __init__(
        self,
        first: "asyncio.Task[Json]",
        rest: AsyncGenerator[Json],
        on_end: ExitStack,
        pace: Pace,
        account: Callable[[], bytes] = bytes,
    ) -> None:
        """Prepare.

        Args:
            first: The first chunk, from `begin`.
            rest: The chunks after it.
            on_end: Closed however the response ends.
            pace: How long silences may last.
            account: What comes before the first chunk and before `[DONE]`, asked each time.
        """
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._first = first
        self._rest = rest
        self._on_end = on_end
        self._pace = pace
        self._account = account

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the whole stream."""
        with self._on_end:
            async with aclosing(self._rest):
                try:
                    await unless_disconnected(receive, self._send_all(scope, send))
                except (ClientDisconnect, SlowReaderError) as error:
                    # The response has begun, so there is nobody to tell.
                    _log.info(
                        "client_left" if isinstance(error, ClientDisconnect) else "slow_reader_cut",
                        request_id=scope.get("state", {}).get("request_id"),
                    )
                finally:
                    await _cancelled(self._first)

    async def _send_all(self, scope: Scope, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        writer = StreamWriter(scope, send, self._pace)
        keep_alive = asyncio.create_task(writer.keep_alive())
        try:
            await writer.write(await self._send_chunks(writer))
        finally:
            await _cancelled(keep_alive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_chunks(self, writer: StreamWriter) -> bytes:
        """Send all there is and return the event to end with."""
        try:
            # Whoever accounts for a stream that is left early knows its prompt from this.
            opening = self._account()
            if not self._first.done():
                await writer.write(opening + b": waiting\n\n")
                opening = b""
            await writer.write(opening + event(await self._first))
            async for chunk in self._rest:
                await writer.write(event(chunk))
        except EngineError as error:
            return b"data: " + reply_for(error).body() + b"\n\n"
        return self._account() + DONE


def usage_comment(streams: Sequence[TextStream]) -> bytes:
    """Return what `streams` used as a comment, which clients pass over and gateways read."""
    return b": pagelet-usage " + orjson.dumps({"usage": usage(streams)}) + b"\n\n"


def _raised(task: "asyncio.Task[Json]") -> "asyncio.Task[Json]":
    """Return a task that has succeeded, or raise what it raised."""
    task.result()
    return task


async def _cancelled(task: "asyncio.Task[Json] | asyncio.Task[None]") -> None:
    """End `task` and wait until it has; what it raised is of no interest any more."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def event(chunk: Json) -> bytes:
    """Return one chunk as an event."""
    return b"data: " + orjson.dumps(chunk) + b"\n\n"
