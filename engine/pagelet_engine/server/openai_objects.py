"""The objects OpenAI's API answers with, as plain dictionaries ready for JSON.

Source: https://platform.openai.com/docs/api-reference/chat/object and /chat/streaming.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from pagelet_engine.core.finish import FinishReason
from pagelet_engine.server.logprobs import Scores
from pagelet_engine.server.text_stream import TextDelta, TextStream

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all objects of one answer share."""

    id: str
    model: str
    created: int
    """Unix seconds."""
    fingerprint: str
    """What produced it, see `LoadedModel.fingerprint`."""
    usage_follows: bool = False
    """Whether a stream's last chunk brings token counts; those before say null, as OpenAI's do."""


def usage(streams: Sequence[TextStream]) -> Json:
    """Return the token counts of all sequences of one request; choices share their prompt's."""
    num_prompt = sum(stream.num_prompt_tokens for stream in streams if stream.counts_prompt)
    num_cached = sum(stream.num_cached_tokens for stream in streams if stream.counts_prompt)
    num_output = sum(stream.num_output_tokens for stream in streams)
    return {
        "prompt_tokens": num_prompt,
        "completion_tokens": num_output,
        "total_tokens": num_prompt + num_output,
        "prompt_tokens_details": {"cached_tokens": num_cached},
        "completion_tokens_details": {
            "reasoning_tokens": sum(stream.num_reasoning_tokens for stream in streams)
        },
    }


def thought_fields(delta: TextDelta) -> Json:
    """Return the thought in `delta`, if any, under both names that clients look for.

    vLLM and OpenRouter say `reasoning`; DeepSeek, SGLang and llama.cpp say `reasoning_content`.
    """
    if not delta.thought:
        return {}
    return {"reasoning": delta.thought, "reasoning_content": delta.thought}


class ChatFormat:
    """Objects of /v1/chat/completions."""

    def __init__(self, envelope: Envelope, scores: Scores) -> None:
        self._envelope = envelope
        self._scores = scores

    def opening(self, index: int) -> Json | None:
        """Return a stream's first chunk."""
        return self._chunk([self._choice(index, {"role": "assistant", "content": ""}, None)])

    def text(self, index: int, delta: TextDelta) -> Json | None:
        """Return a chunk with text, or None where it would say nothing."""
        content = {} if delta.thought and not delta.text else {"content": delta.text}
        return self._text(index, delta, thought_fields(delta) | content)

    def end(self, index: int, reason: FinishReason) -> Json:
        """Return a sequence's last chunk."""
        return self._chunk([self._choice(index, {}, reason)])

    def with_usage(self, counts: Json) -> Json:
        """Return the chunk after the last, with token counts only."""
        return self._chunk([]) | {"usage": counts}

    def whole(self, texts: Sequence[TextDelta], counts: Json) -> Json:
        """Return the answer to a request that does not stream."""
        choices = [
            {
                "index": index,
                "message": {
                    "role": "assistant",
                    # A thought without an answer: the length limit came first.
                    "content": text.text or (None if text.thought else ""),
                    "refusal": None,
                }
                | thought_fields(text),
                "logprobs": self._scores.chat(text.tokens),
                "finish_reason": _value(text.finish_reason),
            }
            for index, text in enumerate(texts)
        ]
        prompt = self._scores.prompt(texts[0].prompt)
        extra = {} if prompt is None else {"prompt_logprobs": prompt}
        return self._object("chat.completion", choices) | {"usage": counts} | extra

    def _text(self, index: int, delta: TextDelta, content: Json) -> Json:
        choice = self._choice(index, content, None)
        return self._chunk([choice | {"logprobs": self._scores.chat(delta.tokens)}])

    def _choice(self, index: int, delta: Json, reason: FinishReason | None) -> Json:
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": _value(reason)}

    def _chunk(self, choices: list[Json]) -> Json:
        return self._object("chat.completion.chunk", choices)

    def _object(self, kind: str, choices: list[Json]) -> Json:
        return _object(self._envelope, kind, choices)


class CompletionFormat:
    """Objects of /v1/completions; chunks and whole answers have the same shape."""

    def __init__(self, envelope: Envelope, scores: Scores, num_choices: int = 1) -> None:
        """Prepare one answer with `num_choices` for each prompt, one prompt after the other."""
        self._envelope = envelope
        self._scores = scores
        self._num_choices = num_choices

    def opening(self, index: int) -> Json | None:
        """Return None: a text needs no opening."""
        return None

    def text(self, index: int, delta: TextDelta) -> Json:
        """Return a chunk with text."""
        delta = replace(delta, finish_reason=None)
        return self._object([self._choice(index, delta, self._prompt(delta))])

    def end(self, index: int, reason: FinishReason) -> Json:
        """Return a sequence's last chunk."""
        choice = {"index": index, "text": "", "logprobs": None, "finish_reason": reason.value}
        return self._object([choice])

    def with_usage(self, counts: Json) -> Json:
        """Return the chunk after the last, with token counts only."""
        return self._object([]) | {"usage": counts}

    def whole(self, texts: Sequence[TextDelta], counts: Json) -> Json:
        """Return the answer to a request that does not stream."""
        # PERF: a prompt's scores are the same for all its choices, and the largest part of them.
        prompts = [self._prompt(text) for text in texts[:: self._num_choices]]
        choices = [
            self._choice(index, text, prompts[index // self._num_choices])
            for index, text in enumerate(texts)
        ]
        return self._object(choices) | {"usage": counts}

    def _prompt(self, delta: TextDelta) -> Json:
        """Return the field about the prompt's tokens, if it is asked for."""
        prompt = self._scores.prompt(delta.prompt)
        return {} if prompt is None else {"prompt_logprobs": orjson.Fragment(orjson.dumps(prompt))}

    def _choice(self, index: int, delta: TextDelta, prompt: Json) -> Json:
        return {
            "index": index,
            "text": delta.text,
            "logprobs": self._scores.completion(delta.tokens),
            "finish_reason": _value(delta.finish_reason),
        } | prompt

    def _object(self, choices: list[Json]) -> Json:
        return _object(self._envelope, "text_completion", choices)


Format = ChatFormat | CompletionFormat


def _value(reason: FinishReason | None) -> str | None:
    return None if reason is None else reason.value


def _object(envelope: Envelope, kind: str, choices: list[Json]) -> Json:
    return {
        "id": envelope.id,
        "object": kind,
        "created": envelope.created,
        "model": envelope.model,
        "system_fingerprint": envelope.fingerprint,
        "choices": choices,
    } | ({"usage": None} if envelope.usage_follows else {})
