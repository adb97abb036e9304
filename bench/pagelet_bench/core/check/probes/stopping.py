"""Where an answer ends: stop strings taken from the very text that comes without them."""

from pagelet_bench.core.check.answers import Answer, ask
from pagelet_bench.core.check.probes.sampling import TOKEN_A
from pagelet_bench.core.check.streams import ask_streamed
from pagelet_bench.core.check.target import SHORT_TOKENS, Target
from pagelet_bench.core.check.verdict import (
    Finding,
    Need,
    Probe,
    Steps,
    broken,
    honoured,
    ignored,
    untestable,
    when,
)

_STOP_CHARS = 4
_MIN_CHARS = 16


def stop_string(target: Target) -> Steps:
    """Stop at a string in the middle of the greedy text."""
    plain = yield from ask(target.chat())
    mark = _mark(plain.text)
    if mark is None:
        return _too_short(plain)
    answer = yield from ask(target.chat(stop=mark))
    return _ends_before(answer, plain.text, mark)


def stop_list(target: Target) -> Steps:
    """Stop at the second of two strings."""
    plain = yield from ask(target.chat())
    mark = _mark(plain.text)
    if mark is None:
        return _too_short(plain)
    answer = yield from ask(target.chat(stop=["\u2603never\u2603", mark]))
    return _ends_before(answer, plain.text, mark)


def stop_streamed(target: Target) -> Steps:
    """Check that a stream shows nothing of the stop string either."""
    plain = yield from ask(target.chat())
    mark = _mark(plain.text)
    if mark is None:
        return _too_short(plain)
    streamed = yield from ask_streamed(target.chat(stop=mark, stream=True))
    return _ends_before(streamed.answer, plain.text, mark)


def include_stop(target: Target) -> Steps:
    """Check that the stop string is part of the text when asked for."""
    plain = yield from ask(target.chat())
    mark = _mark(plain.text)
    if mark is None:
        return _too_short(plain)
    answer = yield from ask(target.chat(stop=mark, include_stop_str_in_output=True))
    return when(
        mark in answer.text and answer.finish == "stop" and len(answer.text) < len(plain.text),
        f"the text ends with {mark!r}",
        f"with stop {mark!r}: finish_reason {answer.finish}, text {answer.text!r}",
    )


def stop_token_ids(target: Target) -> Steps:
    """Stop at a token that is forced."""
    forced = {"logit_bias": {str(TOKEN_A): 100}, "max_tokens": SHORT_TOKENS}
    plain = yield from ask(target.chat(**forced))
    if plain.finish != "length":
        return untestable("no token can be forced by logit_bias")
    answer = yield from ask(target.chat(**forced, stop_token_ids=[TOKEN_A]))
    count = answer.count("completion_tokens")
    return when(
        answer.finish == "stop" and count <= 1,
        f"a forced token ends the answer: {SHORT_TOKENS} tokens without, {count} with",
        f"a forced token does not end the answer: {count} tokens, finish_reason {answer.finish}",
    )


def _mark(text: str) -> str | None:
    """Choose a stop string that first occurs behind the text's first third."""
    if len(text) < _MIN_CHARS:
        return None
    for start in range(len(text) // 3, len(text) - _STOP_CHARS):
        mark = text[start : start + _STOP_CHARS]
        if mark.isprintable() and mark.strip() == mark and text.find(mark) == start:
            return mark
    return None


def _too_short(plain: Answer) -> Finding:
    return untestable(f"the answer has no place to stop at: {plain.text[:80]!r}")


def _ends_before(answer: Answer, plain: str, mark: str) -> Finding:
    if mark in answer.text:
        return ignored(f"{mark!r} is in the text that should end before it")
    if answer.finish != "stop":
        return broken(f"stopped at {mark!r} with finish_reason {answer.finish!r}")
    expected = plain[: plain.find(mark)]
    if answer.text.rstrip() != expected.rstrip():
        return untestable(f"the text at temperature 0 is another one: {answer.text!r}")
    return honoured(f"the text ends before {mark!r}, finish_reason stop")


REQ, REF = Need.REQUIRED, Need.REFUSABLE
PROBES = (
    Probe(id="stopping.stop", field="stop", proves="the text ends before it, finish_reason stop",
          need=REQ, steps=stop_string),
    Probe(id="stopping.stop_list", field="stop (list)", proves="any of several ends the text",
          need=REQ, steps=stop_list),
    Probe(id="stopping.stop_streamed", field="stop (stream)",
          proves="no chunk shows any of it", need=REQ, steps=stop_streamed),
    Probe(id="stopping.include_stop_str_in_output", field="include_stop_str_in_output",
          proves="the text ends with the stop string", need=REF, steps=include_stop),
    Probe(id="stopping.stop_token_ids", field="stop_token_ids",
          proves="a forced token ends the answer", need=REF, steps=stop_token_ids),
)  # fmt: skip
