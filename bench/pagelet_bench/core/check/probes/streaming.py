"""Event streams: framing, order, and that a stream is the answer it stands for."""

from typing import Any

from pagelet_bench.core.check.answers import ask, must
from pagelet_bench.core.check.refusals import ask_refusal, refused
from pagelet_bench.core.check.streams import ask_streamed
from pagelet_bench.core.check.target import SHORT_TOKENS, Target
from pagelet_bench.core.check.verdict import (
    Need,
    Probe,
    Steps,
    broken,
    honoured,
    ignored,
    untestable,
    when,
)

_USAGE = {"include_usage": True}


def chat_stream(target: Target) -> Steps:
    """Check the framing and the first chunk."""
    streamed = yield from ask_streamed(target.chat(stream=True))
    kinds = {chunk.get("object") for chunk in streamed.chunks}
    must(kinds == {"chat.completion.chunk"}, f"chunks are objects {sorted(map(str, kinds))}")
    ids = {str(chunk.get("id")) for chunk in streamed.chunks}
    must(len(ids) == 1, f"the chunks have {len(ids)} ids")
    delta = _first_delta(streamed.chunks)
    must(delta.get("role") == "assistant", "the first delta does not bring the role")
    return honoured(f"{len(streamed.chunks)} chunks, one id, role first, [DONE] last")


def completion_stream(target: Target) -> Steps:
    """Check the framing of a plain completion."""
    streamed = yield from ask_streamed(target.complete(stream=True))
    kinds = {chunk.get("object") for chunk in streamed.chunks}
    must(kinds == {"text_completion"}, f"chunks are objects {sorted(map(str, kinds))}")
    return honoured(f"{len(streamed.chunks)} chunks, [DONE] last")


def is_piecewise(target: Target) -> Steps:
    """Check that the text comes in pieces rather than at the end."""
    streamed = yield from ask_streamed(target.chat(stream=True))
    items = [item for chunk in streamed.chunks for item in chunk["choices"]]
    pieces = [item for item in items if _delta(item).get("content")]
    return when(
        len(pieces) > 2,
        f"the text comes in {len(pieces)} pieces",
        f"the text comes in {len(pieces)} pieces: it is not streamed",
    )


def same_text(target: Target) -> Steps:
    """Compare a stream with the answer that does not stream."""
    plain = yield from ask(target.chat())
    again = yield from ask(target.chat())
    if plain.text != again.text:
        return untestable("two texts at temperature 0 differ, so a third proves nothing")
    streamed = yield from ask_streamed(target.chat(stream=True))
    if streamed.answer.text == plain.text and streamed.answer.finish == plain.finish:
        return honoured(f"{len(plain.text)} characters and finish_reason {plain.finish} alike")
    return broken(f"streamed {streamed.answer.text[:60]!r}, whole {plain.text[:60]!r}")


def finish_chunk(target: Target) -> Steps:
    """Check that the finish reason comes in a chunk without text."""
    streamed = yield from ask_streamed(target.chat(stream=True))
    last = [item for chunk in streamed.chunks for item in chunk["choices"]][-1]
    must(last.get("finish_reason") is not None, "the last choice has no finish_reason")
    return when(
        not _delta(last).get("content"),
        f"finish_reason {last['finish_reason']} in a chunk of its own",
        "the finish_reason comes together with text",
    )


def include_usage(target: Target) -> Steps:
    """Check that the counts come last, with no choice, and are true."""
    request = target.chat(stream=True, max_tokens=SHORT_TOKENS, stream_options=_USAGE)
    streamed = yield from ask_streamed(request)
    last = streamed.chunks[-1]
    if not isinstance(last.get("usage"), dict):
        return ignored("the last chunk has no usage")
    must(last["choices"] == [], "the chunk with usage has choices")
    answer = streamed.answer
    output, total = answer.count("completion_tokens"), answer.count("total_tokens")
    must(answer.count("prompt_tokens") + output == total, "usage does not add up")
    must(0 < output <= SHORT_TOKENS, f"{output} tokens where {SHORT_TOKENS} are allowed")
    return honoured(f"{total} tokens in a last chunk without choices")


def usage_null(target: Target) -> Steps:
    """Check that chunks before the last say `usage: null`, as OpenAI's do."""
    streamed = yield from ask_streamed(target.chat(stream=True, stream_options=_USAGE))
    early = [chunk for chunk in streamed.chunks if chunk["choices"]]
    given = [chunk for chunk in early if "usage" in chunk]
    must(all(chunk["usage"] is None for chunk in given), "a chunk with choices has token counts")
    return when(
        len(given) == len(early),
        f"usage is null in {len(early)} chunks",
        f"usage is absent in {len(early) - len(given)} of {len(early)} chunks",
    )


def no_usage(target: Target) -> Steps:
    """Check that counts do not come unasked."""
    streamed = yield from ask_streamed(target.chat(stream=True))
    counted = sum(isinstance(chunk.get("usage"), dict) for chunk in streamed.chunks)
    empty = sum(not chunk["choices"] for chunk in streamed.chunks)
    if empty:
        return broken(f"{empty} chunks without choices come unasked; clients read choices[0]")
    return when(not counted, "no counts unasked", f"{counted} chunks with counts come unasked")


def choices(target: Target) -> Steps:
    """Check that chunks of several choices can be told apart."""
    request = target.chat(stream=True, n=2, temperature=1, max_tokens=SHORT_TOKENS)
    streamed = yield from ask_streamed(request)
    indices = [choice.index for choice in streamed.answer.choices]
    if len(indices) == 1:
        return ignored("one choice where two are asked for")
    must(indices == [0, 1], f"the choices have the indices {indices}")
    return honoured("chunks of choices 0 and 1, each with a finish_reason")


def options_alone(target: Target) -> Steps:
    """Send `stream_options` without a stream: OpenAI refuses it."""
    request = target.chat(stream_options=_USAGE)
    return refused((yield from ask_refusal(request, "stream_options without stream passes")))


def _first_delta(chunks: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    return next((_delta(item) for chunk in chunks for item in chunk["choices"]), {})


def _delta(item: dict[str, Any]) -> dict[str, Any]:
    delta = item.get("delta")
    return delta if isinstance(delta, dict) else {}


REQ, OPT, REF = Need.REQUIRED, Need.OPTIONAL, Need.REFUSABLE
PROBES = (
    Probe(id="streaming.chat", field="stream", proves="one id, role first, [DONE] last",
          need=REQ, steps=chat_stream),
    Probe(id="streaming.completions", field="stream (completions)", proves="[DONE] last",
          need=REQ, steps=completion_stream),
    Probe(id="streaming.pieces", field="stream (pieces)", proves="the text comes in pieces",
          need=REQ, steps=is_piecewise),
    Probe(id="streaming.same_text", field="stream (text)",
          proves="text and finish_reason of the whole answer", need=REQ, steps=same_text),
    Probe(id="streaming.finish_chunk", field="stream (finish)",
          proves="finish_reason in a chunk without text", need=OPT, steps=finish_chunk),
    Probe(id="streaming.include_usage", field="stream_options.include_usage",
          proves="counts in a last chunk without choices", need=REQ, steps=include_usage),
    Probe(id="streaming.usage_null", field="stream_options.include_usage (null)",
          proves="usage is null in earlier chunks", need=OPT, steps=usage_null),
    Probe(id="streaming.usage_unasked", field="stream_options (absent)",
          proves="no counts, no chunk without choices", need=REQ, steps=no_usage),
    Probe(id="streaming.n", field="n (stream)", proves="chunks of both choices",
          need=REQ, steps=choices),
    Probe(id="streaming.options_alone", field="stream_options without stream",
          proves="a 4xx", need=OPT, steps=options_alone),
)  # fmt: skip
