"""Reads answers strictly: what a typed client would trip over is broken, what it says is a refusal
is refused. Every function ends a probe through `JudgedError` rather than return half an answer.
"""

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from pagelet_bench.core.check.exchange import NOT_JSON, Exchange, Request, parsed
from pagelet_bench.core.check.verdict import JudgedError, Verdict

FINISH_REASONS = ("stop", "length", "tool_calls", "content_filter", "function_call")
"""OpenAI's enum; a typed client refuses any other."""

_BUSY = (408, 429, 503)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One tool call."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One choice of an answer, or of a whole stream."""

    index: int
    text: str
    finish: str | None
    logprobs: Any = None
    calls: tuple[Call, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A well-formed answer; at least one choice."""

    choices: tuple[Choice, ...]
    usage: Mapping[str, Any]
    body: Mapping[str, Any]
    headers: Mapping[str, str]

    @property
    def text(self) -> str:
        """The first choice's text."""
        return self.choices[0].text

    @property
    def finish(self) -> str | None:
        """The first choice's finish reason."""
        return self.choices[0].finish

    def count(self, name: str) -> int:
        """Return a count of the usage, such as "prompt_tokens"; without it nothing can be said."""
        value = self.usage.get(name)
        if type(value) is not int or value < 0:
            stop(Verdict.UNTESTABLE, f"the answer has no usage.{name} to observe")
        return value


Asking = Generator[Request, Exchange, Answer]


def ask(request: Request) -> Asking:
    """Send a request that does not stream and return its answer."""
    return read((yield request))


def stop(verdict: Verdict, evidence: str) -> NoReturn:
    """End the probe with this finding."""
    raise JudgedError(verdict, evidence)


def must(holds: bool, evidence: str) -> None:
    """End the probe as broken unless `holds`."""
    if not holds:
        stop(Verdict.BROKEN, evidence)


def read(exchange: Exchange) -> Answer:
    """Return the answer of a request that did not stream."""
    body = read_object(exchange)
    is_chat = exchange.request.path.endswith("/chat/completions")
    items = body.get("choices")
    must(isinstance(items, list) and bool(items), "the answer has no list of choices")
    assert isinstance(items, list)
    choices = tuple(_choice(item, is_chat) for item in items)
    usage = body.get("usage")
    return Answer(
        choices=choices,
        usage=usage if isinstance(usage, dict) else {},
        body=body,
        headers=exchange.headers,
    )


def read_object(exchange: Exchange) -> dict[str, Any]:
    """Return the JSON object of a successful answer."""
    check_success(exchange)
    must(not exchange.is_stream, "the answer is a stream, though none was asked for")
    body = parsed(exchange.text)
    must(isinstance(body, dict), f"the answer is not a JSON object: {exchange.text[:80]!r}")
    return dict(body)


def check_success(exchange: Exchange) -> None:
    """End the probe unless the answer is a complete 200."""
    status = exchange.status
    must(not exchange.failure, exchange.failure)
    must(200 <= status < 500 or status in (501, 503), f"HTTP {status}: {message(exchange)}")
    if status in _BUSY:
        stop(Verdict.UNTESTABLE, f"HTTP {status}: the endpoint is busy: {message(exchange)}")
    must(status not in range(300, 400), f"HTTP {status}: a redirect")
    if status >= 400:
        stop(Verdict.REFUSED, f"HTTP {status}: {message(exchange)}")
    must(status == 200, f"HTTP {status} where 200 is due")


def message(exchange: Exchange) -> str:
    """Return what a refusal says, whatever its shape."""
    body = parsed(exchange.text)
    for key in ("error", "message", "detail"):
        if isinstance(body, dict) and key in body:
            body = body[key]
    return body if isinstance(body, str) else exchange.text[:200].strip() or "(empty body)"


def is_number(value: object) -> bool:
    """Whether a JSON value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def arguments_of(call: Call) -> dict[str, Any]:
    """Return a tool call's arguments as an object."""
    value = parsed(call.arguments)
    must(
        isinstance(value, dict),
        f"the arguments of {call.name!r} are not a JSON object: {call.arguments[:80]!r}",
    )
    return dict(value)


def json_in(text: str) -> Any:
    """Return the JSON an output consists of, or NOT_JSON."""
    return parsed(text) if text.strip() else NOT_JSON


def _choice(item: Any, is_chat: bool) -> Choice:
    must(isinstance(item, dict), "a choice is not an object")
    index, finish = item.get("index"), item.get("finish_reason")
    must(type(index) is int, f"a choice's index is {index!r}")
    must(finish in FINISH_REASONS, f"finish_reason is {finish!r}, which OpenAI does not have")
    holder = item.get("message") if is_chat else item
    must(isinstance(holder, dict), "a choice has no message")
    must(not is_chat or holder.get("role") == "assistant", "the message's role is not assistant")
    text = holder.get("content" if is_chat else "text")
    must(isinstance(text, str) or (is_chat and text is None), "a choice's text is not a string")
    return Choice(
        index=index,
        text=text or "",
        finish=finish,
        logprobs=item.get("logprobs"),
        calls=read_calls(holder.get("tool_calls")),
        extra=item,
    )


def read_calls(items: Any) -> tuple[Call, ...]:
    """Return a message's tool calls."""
    if items is None:
        return ()
    must(isinstance(items, list), "tool_calls is not a list")
    return tuple(_call(item) for item in items)


def _call(item: Any) -> Call:
    function = item.get("function") if isinstance(item, dict) else None
    must(isinstance(function, dict), "a tool call has no function")
    assert isinstance(function, dict)
    found = (item.get("id"), function.get("name"), function.get("arguments"))
    must(
        all(isinstance(value, str) for value in found) and item.get("type") == "function",
        "a tool call lacks id, type, name or arguments as strings",
    )
    must(bool(found[0]) and bool(found[1]), "a tool call's id or name is empty")
    return Call(id=str(found[0]), name=str(found[1]), arguments=str(found[2]))
