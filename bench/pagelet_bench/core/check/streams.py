"""Reads a whole event stream into the answer it adds up to, as strictly as `answers`."""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from pagelet_bench.core.check.answers import (
    FINISH_REASONS,
    Answer,
    Choice,
    check_success,
    must,
    read_calls,
    stop,
)
from pagelet_bench.core.check.exchange import Exchange, Request, parsed
from pagelet_bench.core.check.verdict import Verdict

DONE = "[DONE]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """A stream that ended as it should: the answer, and the chunks it came in."""

    answer: Answer
    chunks: tuple[dict[str, Any], ...]


@dataclass(slots=True)
class _Part:
    """What one choice's chunks add up to so far."""

    texts: list[str] = field(default_factory=list)
    finish: str | None = None
    logprobs: list[Any] = field(default_factory=list)
    calls: dict[int, dict[str, Any]] = field(default_factory=dict)


def ask_streamed(request: Request) -> Generator[Request, Exchange, Streamed]:
    """Send a request that streams and return what came."""
    return read_stream((yield request))


def read_stream(exchange: Exchange) -> Streamed:
    """Return the answer of a request that streamed.

    A stream that broke must not look complete: `[DONE]` without a finish reason is broken, and so
    is a finish reason without `[DONE]`.
    """
    check_success(exchange)
    if not exchange.is_stream:
        kind = exchange.headers.get("content-type", "absent")
        stop(Verdict.IGNORED, f"the answer is no event stream; its content type is {kind!r}")
    must(bool(exchange.events), "the stream has no events")
    chunks = [_chunk(data) for data in exchange.events if data != DONE]
    must(exchange.events[-1] == DONE, "the stream does not end with [DONE]")
    must(exchange.events.count(DONE) == 1, "[DONE] comes more than once")
    is_chat = exchange.request.path.endswith("/chat/completions")
    parts: dict[int, _Part] = {}
    for chunk in chunks:
        for item in chunk["choices"]:
            _take(item, parts, is_chat)
    must(bool(parts), "no chunk has a choice")
    for index, part in parts.items():
        must(part.finish is not None, f"[DONE] comes though choice {index} has no finish_reason")
    choices = tuple(_whole(index, part) for index, part in sorted(parts.items()))
    usages = [chunk["usage"] for chunk in chunks if isinstance(chunk.get("usage"), dict)]
    answer = Answer(
        choices=choices,
        usage=usages[-1] if usages else {},
        body=chunks[-1],
        headers=exchange.headers,
    )
    return Streamed(answer=answer, chunks=tuple(chunks))


def _chunk(data: str) -> dict[str, Any]:
    chunk = parsed(data)
    must(isinstance(chunk, dict), f"an event is not a JSON object: {data[:80]!r}")
    must("error" not in chunk, f"the stream ends in an error: {data[:200]}")
    must(isinstance(chunk.get("choices"), list), "a chunk has no list of choices")
    return dict(chunk)


def _take(item: Any, parts: dict[int, _Part], is_chat: bool) -> None:
    must(isinstance(item, dict), "a choice is not an object")
    index, finish = item.get("index"), item.get("finish_reason")
    must(type(index) is int, f"a choice's index is {index!r}")
    must(finish is None or finish in FINISH_REASONS, f"finish_reason is {finish!r}")
    part = parts.setdefault(index, _Part())
    must(part.finish is None, f"choice {index} goes on after its finish_reason")
    part.finish = finish
    holder = item.get("delta") if is_chat else item
    must(isinstance(holder, dict), "a chunk's choice has no delta")
    text = holder.get("content" if is_chat else "text")
    must(text is None or isinstance(text, str), "a chunk's text is not a string")
    part.texts.append(text or "")
    if item.get("logprobs") is not None:
        part.logprobs.append(item["logprobs"])
    _take_calls(holder.get("tool_calls"), part.calls)


def _take_calls(items: Any, calls: dict[int, dict[str, Any]]) -> None:
    must(items is None or isinstance(items, list), "tool_calls of a chunk is not a list")
    for item in items or ():
        must(isinstance(item, dict), "a tool call of a chunk is not an object")
        index, function = item.get("index"), item.get("function") or {}
        must(type(index) is int, f"a tool call's index is {index!r}")
        must(isinstance(function, dict), "a tool call's function is not an object")
        piece = function.get("arguments") or ""
        must(isinstance(piece, str), "a piece of a tool call's arguments is not a string")
        if index not in calls:
            must(bool(item.get("id")), f"tool call {index} begins without an id")
            must(bool(function.get("name")), f"tool call {index} begins without a name")
            calls[index] = {
                "id": item["id"],
                "type": item.get("type"),
                "function": {"name": function["name"], "arguments": piece},
            }
        else:
            calls[index]["function"]["arguments"] += piece


def _whole(index: int, part: _Part) -> Choice:
    return Choice(
        index=index,
        text="".join(part.texts),
        finish=part.finish,
        logprobs=part.logprobs or None,
        calls=read_calls([call for _, call in sorted(part.calls.items())]),
    )
