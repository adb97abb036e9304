"""OpenAI's objects for tool calls: deltas of a stream, and the calls of a whole message."""

from collections import defaultdict
from collections.abc import Collection, Sequence

from pagelet_engine.core.finish import FinishReason
from pagelet_engine.server.logprobs import Scores
from pagelet_engine.server.openai_objects import ChatFormat, Envelope, Json, thought_fields
from pagelet_engine.server.text_stream import TextDelta
from pagelet_engine.text.tools.notation import Notation
from pagelet_engine.text.tools.parts import CallArguments, CallStart, Part

TOOL_CALLS = "tool_calls"
"""OpenAI's finish reason of a message that ends by itself and calls tools."""


class ToolChatFormat(ChatFormat):
    """Objects of /v1/chat/completions when the model may call tools."""

    def __init__(
        self, envelope: Envelope, scores: Scores, names: Collection[str], notation: Notation
    ) -> None:
        """Prepare one answer in which calls of the tools in `names` are taken out of the text."""
        super().__init__(envelope, scores)
        self._deltas = defaultdict[int, CallDeltas](lambda: CallDeltas(names, notation))

    def text(self, index: int, delta: TextDelta) -> Json | None:
        """Return a chunk with what is certain now; None if nothing is and no scores are due."""
        content = thought_fields(delta) | self._deltas[index].feed(delta.text)
        return self._text(index, delta, content) if content or delta.tokens else None

    def end(self, index: int, reason: FinishReason) -> Json:
        """Return a sequence's last chunk; it brings text that was held for an unfinished tag."""
        chunk = super().end(index, reason)
        chunk["choices"][0] |= {
            "delta": self._deltas[index].finish(),
            "finish_reason": self._deltas[index].reason(reason),
        }
        return chunk

    def whole(self, texts: Sequence[TextDelta], counts: Json) -> Json:
        """Return the answer to a request that does not stream."""
        answer = super().whole(texts, counts)
        for choice, text in zip(answer["choices"], texts, strict=True):
            deltas = self._deltas[choice["index"]]
            choice["message"] |= _joined([deltas.feed(text.text), deltas.finish()])
            choice["finish_reason"] = deltas.reason(text.finish_reason or FinishReason.STOP)
        return answer


class CallDeltas:
    """Turns one choice's text into deltas, with tool calls taken out of it."""

    def __init__(self, names: Collection[str], notation: Notation) -> None:
        """Look for calls of the tools in `names`."""
        self._notation = notation
        self._parser = notation.parser(names)

    def feed(self, text: str) -> Json:
        """Return the delta that `text` brings; it may be empty."""
        return self._delta(self._parser.feed(text))

    def finish(self) -> Json:
        """Return the delta of what was held back."""
        return self._delta(self._parser.finish())

    def reason(self, reason: FinishReason) -> str:
        """Return the choice's finish reason: `tool_calls` unless it was cut."""
        called = self._parser.num_calls > 0
        return TOOL_CALLS if called and reason is FinishReason.STOP else reason.value

    def _delta(self, parts: list[Part]) -> Json:
        text = "".join(part for part in parts if isinstance(part, str))
        calls = [self._call(part) for part in parts if not isinstance(part, str)]
        return ({"content": text} if text else {}) | ({TOOL_CALLS: calls} if calls else {})

    def _call(self, part: CallStart | CallArguments) -> Json:
        if isinstance(part, CallArguments):
            return {"index": part.index, "function": {"arguments": part.text}}
        return {
            "index": part.index,
            "id": self._notation.new_call_id(),
            "type": "function",
            "function": {"name": part.name, "arguments": ""},
        }


def _joined(deltas: Sequence[Json]) -> Json:
    """Return the fields of a whole message."""
    content = "".join(delta.get("content", "") for delta in deltas)
    calls: list[Json] = []
    for call in (call for delta in deltas for call in delta.get(TOOL_CALLS, ())):
        if "id" in call:
            calls.append({key: value for key, value in call.items() if key != "index"})
        else:
            calls[-1]["function"]["arguments"] += call["function"]["arguments"]
    return {"content": content or None, TOOL_CALLS: calls} if calls else {"content": content}
