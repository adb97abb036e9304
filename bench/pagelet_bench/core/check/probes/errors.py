"""Refusals: what must be refused is, and so that clients can tell why."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pagelet_bench.core.check.answers import must, read
from pagelet_bench.core.check.exchange import Request
from pagelet_bench.core.check.refusals import ask_refusal, error_code, refused
from pagelet_bench.core.check.target import CHAT, Target
from pagelet_bench.core.check.verdict import (
    Need,
    Probe,
    Steps,
    honoured,
    ignored,
    untestable,
    when,
)

_MAX_PROMPT_WORDS = 40_000
"""Longest prompt sent; endpoints with a longer context are asked for impossible outputs."""
_OVERSIZED_BYTES = 24 * 2**20


def _refuses(target: Target, fields: Mapping[str, Any], otherwise: str) -> Steps:
    return refused((yield from ask_refusal(target.chat(**fields), otherwise)))


def unknown_field(target: Target) -> Steps:
    """Send a field no API has, as a misspelt one would be."""
    fields = {"no_such_parameter": 1}
    return (yield from _refuses(target, fields, "a field that does not exist is ignored"))


def wrong_type(target: Target) -> Steps:
    """Send text where a number belongs."""
    return (yield from _refuses(target, {"temperature": "hot"}, "temperature 'hot' is accepted"))


def temperature_range(target: Target) -> Steps:
    """Send a temperature below zero."""
    return (yield from _refuses(target, {"temperature": -1}, "temperature -1 is accepted"))


def top_p_range(target: Target) -> Steps:
    """Send a probability above one."""
    return (yield from _refuses(target, {"top_p": 1.5}, "top_p 1.5 is accepted"))


def max_tokens_range(target: Target) -> Steps:
    """Ask for a negative number of tokens."""
    return (yield from _refuses(target, {"max_tokens": -1}, "max_tokens -1 is accepted"))


def n_range(target: Target) -> Steps:
    """Ask for no choice."""
    return (yield from _refuses(target, {"n": 0}, "n = 0 is accepted"))


def bias_token(target: Target) -> Steps:
    """Bias a token no vocabulary has."""
    fields = {"logit_bias": {"99999999": 1}}
    return (yield from _refuses(target, fields, "a bias of token 99999999 is accepted"))


def no_messages(target: Target) -> Steps:
    """Leave out the conversation."""
    request = Request(path=CHAT, body={"model": target.model})
    return refused((yield from ask_refusal(request, "a request without messages is accepted")))


def empty_messages(target: Target) -> Steps:
    """Send a conversation without a message."""
    return refused((yield from ask_refusal(target.chat([]), "no message at all is accepted")))


def unknown_role(target: Target) -> Steps:
    """Send a message of nobody."""
    message = [{"role": "narrator", "content": "It was night."}]
    return refused((yield from ask_refusal(target.chat(message), "role narrator is accepted")))


def no_json(target: Target) -> Steps:
    """Send a body that is cut in the middle."""
    request = Request(path=CHAT, raw=b'{"model": "')
    return refused((yield from ask_refusal(request, "half a JSON object is accepted")))


def error_object(target: Target) -> Steps:
    """Check a refusal's body, field by field."""
    exchange = yield from ask_refusal(target.chat(temperature="hot"), "nothing was refused")
    code = error_code(exchange)
    return honoured(f"message, type, param; code is {code!r}")


def stream_error(target: Target) -> Steps:
    """Check that a stream is refused before it begins, not within."""
    exchange = yield from ask_refusal(target.chat(temperature="hot", stream=True), "accepted")
    error_code(exchange)
    return refused(exchange)


def unknown_model(target: Target) -> Steps:
    """Ask for a model that is not served."""
    request = target.chat(model=f"{target.model}-no-such-model")
    exchange = yield from ask_refusal(request, "another model than the one asked for answers")
    must(exchange.status == 404, f"HTTP {exchange.status}, where OpenAI answers 404")
    code = error_code(exchange)
    return when(code == "model_not_found", f"404 {code}", f"404 with code {code!r}")


def context_length(target: Target) -> Steps:
    """Ask for more than the context holds: it must not be cut in silence."""
    exchange = yield from ask_refusal(_too_long(target), "a prompt beyond the context is accepted")
    error_code(exchange)
    return refused(exchange)


def context_length_code(target: Target) -> Steps:
    """Check the code by which clients know when to shorten a prompt."""
    exchange = yield from ask_refusal(_too_long(target), "a prompt beyond the context is accepted")
    code = error_code(exchange)
    return when(code == "context_length_exceeded", code or "", f"the code is {code!r}")


def _too_long(target: Target) -> Request:
    length = target.max_model_len
    if length is not None and length <= _MAX_PROMPT_WORDS:
        return target.chat("sea " * (length + 16), max_tokens=1)
    return target.chat(max_tokens=100_000_000)


def wrong_key(target: Target) -> Steps:
    """Bring a key that cannot be right."""
    exchange = yield replace(target.chat(max_tokens=1), wrong_key=True)
    if exchange.status == 200 and not target.has_key:
        return untestable("the endpoint asks for no key")
    if exchange.status == 200:
        return ignored("a wrong key is let in")
    must(exchange.status == 401, f"HTTP {exchange.status} where 401 is due")
    code = error_code(exchange)
    return honoured(f"401, code {code!r}")


def unknown_path(target: Target) -> Steps:
    """Ask for a path that does not exist."""
    request = Request(method="GET", path="/v1/no-such-path")
    exchange = yield from ask_refusal(request, "a path that does not exist answers 200")
    must(exchange.status in (401, 403, 404), f"HTTP {exchange.status} where 404 is due")
    error_code(exchange)
    return refused(exchange)


def wrong_method(target: Target) -> Steps:
    """GET what is to be POSTed."""
    request = Request(method="GET", path=CHAT)
    return refused((yield from ask_refusal(request, "GET of a POST route answers 200")))


def oversized(target: Target) -> Steps:
    """Send a body far larger than any prompt: mostly spaces, so that reading it is all it costs."""
    request = replace(target.chat(max_tokens=1), padding_bytes=_OVERSIZED_BYTES)
    exchange = yield request
    if exchange.failure and not exchange.status:
        again = yield target.chat(max_tokens=1)
        read(again)
        return honoured("the connection is closed while the body is sent; the next one is served")
    size = f"a body of {_OVERSIZED_BYTES >> 20} MiB"
    if exchange.status == 200:
        return ignored(f"{size} is read and served")
    must(exchange.status in (400, 413, 422), f"{size}: HTTP {exchange.status}")
    return refused(exchange)


def after_error(target: Target) -> Steps:
    """Check that a refusal harms nobody who comes next."""
    yield from ask_refusal(Request(path=CHAT, raw=b"\xff\xfe{"), "bytes that are no text pass")
    answer = read((yield target.chat(max_tokens=2)))
    return honoured(f"the request after a refusal is served: {answer.text!r}")


REQ, OPT, REF = Need.REQUIRED, Need.OPTIONAL, Need.REFUSABLE
PROBES = (
    Probe(id="errors.unknown_field", field="(unknown parameter)", proves="a 4xx",
          need=REQ, steps=unknown_field),
    Probe(id="errors.wrong_type", field="(wrong type)", proves="a 4xx", need=REQ, steps=wrong_type),
    Probe(id="errors.temperature_range", field="temperature (range)", proves="a 4xx",
          need=REQ, steps=temperature_range),
    Probe(id="errors.top_p_range", field="top_p (range)", proves="a 4xx",
          need=REQ, steps=top_p_range),
    Probe(id="errors.max_tokens_range", field="max_tokens (range)", proves="a 4xx",
          need=REQ, steps=max_tokens_range),
    Probe(id="errors.n_range", field="n (range)", proves="a 4xx", need=REQ, steps=n_range),
    Probe(id="errors.bias_token", field="logit_bias (unknown token)", proves="a 4xx",
          need=REQ, steps=bias_token),
    Probe(id="errors.no_messages", field="messages (absent)", proves="a 4xx",
          need=REQ, steps=no_messages),
    Probe(id="errors.empty_messages", field="messages (empty)", proves="a 4xx",
          need=REQ, steps=empty_messages),
    Probe(id="errors.unknown_role", field="messages (unknown role)", proves="a 4xx",
          need=REQ, steps=unknown_role),
    Probe(id="errors.no_json", field="(broken JSON)", proves="a 4xx", need=REQ, steps=no_json),
    Probe(id="errors.object", field="error object",
          proves="message and type strings, code a string or null", need=REQ, steps=error_object),
    Probe(id="errors.stream", field="error object (stream)",
          proves="a 4xx with an error object instead of a stream", need=REQ, steps=stream_error),
    Probe(id="errors.unknown_model", field="model (unknown)", proves="404 model_not_found",
          need=REQ, steps=unknown_model),
    Probe(id="errors.context_length", field="(beyond the context)", proves="a 4xx, nothing cut",
          need=REQ, steps=context_length),
    Probe(id="errors.context_length_code", field="error.code (context)",
          proves="context_length_exceeded", need=OPT, steps=context_length_code),
    Probe(id="errors.wrong_key", field="Authorization (wrong key)",
          proves="401 with an error object", need=REQ, steps=wrong_key),
    Probe(id="errors.unknown_path", field="(unknown path)", proves="404 with an error object",
          need=OPT, steps=unknown_path),
    Probe(id="errors.wrong_method", field="(wrong method)", proves="a 4xx",
          need=OPT, steps=wrong_method),
    Probe(id="errors.oversized", field="(oversized body)", proves="refused or closed",
          need=OPT, steps=oversized),
    Probe(id="errors.after", field="(after a refusal)", proves="the next request is served",
          need=REQ, steps=after_error),
)  # fmt: skip
