"""Everything an engine can do wrong, as scripts for `Upstream`."""

import asyncio
import json

from gateway_upstream import Script, Wire, event


async def resets_in_the_headers(wire: Wire) -> None:
    await wire.raw(b"HTTP/1.1 200 OK\r\ncontent-ty")
    wire.reset()


async def resets_before_the_headers(wire: Wire) -> None:
    wire.reset()


async def resets_in_the_stream(wire: Wire) -> None:
    await wire.start_stream()
    await wire.token("a")
    await asyncio.sleep(0.02)
    wire.reset()


async def fails_with_500(wire: Wire) -> None:
    await wire.reply(500, {"error": {"message": "boom", "code": "internal_error"}})


def error_event(code: str, kind: str = "server_error") -> bytes:
    """How an engine that has sent its status says that it failed."""
    error = {"message": "boom", "type": kind, "param": None, "code": code}
    return b"data: " + json.dumps({"error": error}).encode() + b"\n\n"


async def opens_with_an_error_event(wire: Wire) -> None:
    await wire.start_stream()
    opening = b': pagelet-usage {"usage": {"prompt_tokens": 3, "completion_tokens": 0}}\n\n'
    await wire.part(opening + error_event("generation_failed"))
    await wire.end_stream(done=False)


async def ends_with_an_error_event(wire: Wire) -> None:
    await wire.start_stream()
    await wire.token("a")
    await asyncio.sleep(0.02)
    await wire.part(error_event("service_unavailable"))
    await wire.end_stream(done=False)


async def is_overloaded(wire: Wire) -> None:
    error = {"message": "full", "type": "server_error", "param": None, "code": "queue_full"}
    await wire.reply(503, {"error": error}, retry_after="3")


async def never_begins(wire: Wire) -> None:
    await asyncio.sleep(60)


async def stalls_in_the_stream(wire: Wire) -> None:
    await wire.start_stream()
    await wire.token("a")
    await asyncio.sleep(60)


async def streams_garbage(wire: Wire) -> None:
    await wire.start_stream()
    await wire.part(event("a"))
    await wire.part(b"<html>\n\nevent error\n\n\x00\xff\n\ndata {}\n\n")
    await wire.end_stream(done=False)


async def never_ends_a_line(wire: Wire) -> None:
    await wire.start_stream()
    await wire.token("a")
    for _ in range(24):
        await wire.part(b"x" * 65536)
    await asyncio.sleep(60)


async def announces_more_than_it_sends(wire: Wire) -> None:
    await wire.head(200, content_type="text/event-stream", content_length="10000")
    await wire.raw(event("a"))
    await asyncio.sleep(0.02)
    wire.reset()


async def sends_more_than_it_announces(wire: Wire) -> None:
    await wire.head(200, content_type="text/event-stream", content_length=str(len(event("a"))))
    await wire.raw(event("a") + event("b") + b"data: [DONE]\n\n")


BEFORE_THE_FIRST_BYTE: dict[str, Script | None] = {
    "connect refused": None,
    "reset before the headers": resets_before_the_headers,
    "reset in the headers": resets_in_the_headers,
    "500": fails_with_500,
    "503": is_overloaded,
    "slow first token": never_begins,
    "error event first": opens_with_an_error_event,
    "content-length too low": sends_more_than_it_announces,
}
IN_THE_STREAM: dict[str, Script | None] = {
    "reset in the stream": resets_in_the_stream,
    "error event in the stream": ends_with_an_error_event,
    "stall in the stream": stalls_in_the_stream,
    "bad SSE": streams_garbage,
    "oversized line": never_ends_a_line,
    "content-length too high": announces_more_than_it_sends,
}
FAULTS = BEFORE_THE_FIRST_BYTE | IN_THE_STREAM
"""By name; None is an engine that does not listen."""
