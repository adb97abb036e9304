"""One line and one span per routed request, written at its end; never what anybody said.

Both tell the same facts. The line goes to the log unless `--no-access-log`; the span goes to a
collector if the environment names one. Probes and other local answers leave neither.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Protocol

import structlog

from pagelet_gateway.server.call import Call
from pagelet_gateway.server.exchange import Exchange

OPERATIONS = {"/v1/chat/completions": "chat", "/v1/completions": "text_completion"}
"""What OpenTelemetry calls what the paths do; others are named by their path."""

TRACE_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Environment variables of which any turns tracing on."""

_SPAN_NAMES = {
    "request_id": "pagelet.request_id",
    "model": "gen_ai.request.model",
    "status": "http.response.status_code",
    "prompt_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "ttft_s": "gen_ai.response.time_to_first_chunk",
    "tenant": "pagelet.tenant",
    "revision": "pagelet.revision",
    "outcome": "pagelet.outcome",
    "attempts": "pagelet.attempts",
    "fallback": "pagelet.fallback",
}
"""Facts as span attributes; the gen_ai names are OpenTelemetry's.

Source: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans
"""


class Span(Protocol):
    """A request being traced."""

    @property
    def traceparent(self) -> str:
        """What the engine is to continue."""
        ...

    def end(self, name: str, attributes: Mapping[str, Any], error: str | None) -> None:
        """Close it; `error` names what went wrong, a word of this program."""
        ...


class Spans(Protocol):
    """Where spans go."""

    def start(self, name: str, traceparent: str | None) -> Span:
        """Open one, as a part of the trace that the client names, if it does."""
        ...

    def close(self) -> None:
        """Send what is left; may take some seconds, and belongs to no event loop."""
        ...


def open_journal(environment: Mapping[str, str], *, access_log: bool) -> "Journal":
    """Make the journal of a gateway; its spans go where the environment says, if it does.

    Raises:
        ConfigError: It does, but the extra `otel` is not installed.
    """
    is_off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if is_off or not any(environment.get(name) for name in TRACE_ENDPOINTS):
        return Journal(access_log=access_log, spans=None)
    # Imported here: who wants no traces needs no OpenTelemetry, nor the time to import it.
    from pagelet_gateway.server.otel import OtelSpans

    return Journal(access_log=access_log, spans=OtelSpans(environment))


class Journal:
    """Opens an entry for every routed request."""

    def __init__(self, *, access_log: bool, spans: Spans | None) -> None:
        self._log = structlog.get_logger("pagelet.gateway").bind() if access_log else None
        self._spans = spans

    def begin(self, exchange: Exchange) -> "Entry":
        """Take up a request; its engine sees the span's `traceparent` in place of the client's."""
        span = None
        if self._spans is not None:
            given = exchange.headers.get(b"traceparent")
            name = OPERATIONS.get(exchange.path, exchange.path)
            span = self._spans.start(name, given.decode("latin-1") if given else None)
            exchange.headers[b"traceparent"] = span.traceparent.encode("ascii")
        return Entry(self._log, span, exchange)

    async def close(self) -> None:
        """Send the spans that are left; a collector that does not answer costs seconds."""
        if self._spans is not None:
            await asyncio.to_thread(self._spans.close)


class Entry:
    """One request, until it ends."""

    def __init__(self, log: Any, span: Span | None, exchange: Exchange) -> None:
        self._log = log
        self._span = span
        self._exchange = exchange
        self._began_at = time.monotonic()

    def end(self, code: str | None) -> None:
        """Write what is known.

        Args:
            code: The error code if the gateway answered itself.
        """
        if self._log is None and self._span is None:
            return
        facts = self._facts(code)
        if self._log is not None:
            self._log.info("request", **facts)
        if self._span is not None:
            outcome = str(facts.get("outcome", "ok"))
            operation = OPERATIONS.get(self._exchange.path, self._exchange.path)
            attributes = {
                name: facts[fact] for fact, name in _SPAN_NAMES.items() if facts.get(fact)
            } | {"gen_ai.operation.name": operation, "gen_ai.provider.name": "pagelet"}
            name = f"{operation} {facts['model']}" if facts.get("model") else operation
            self._span.end(name, attributes, code or (None if outcome == "ok" else outcome))

    def _facts(self, code: str | None) -> dict[str, Any]:
        exchange = self._exchange
        facts: dict[str, Any] = {
            "request_id": exchange.request_id.decode(),
            "path": exchange.path,
            "status": exchange.status,
            "duration_s": round(time.monotonic() - self._began_at, 6),
            **exchange.facts,
        }
        if code is not None:
            facts["code"] = code
        return facts


def facts_of(call: Call) -> dict[str, Any]:
    """What a routed request's end tells; tokens as far as the engine told them."""
    usage = call.usage or (call.gate.usage if call.gate else None)
    link = call.target.link if call.target else None
    found = {
        "tenant": call.caller.opaque_id,
        "model": call.model,
        "revision": call.revision,
        "outcome": call.outcome.value,
        "ttft_s": call.ttft_s and round(call.ttft_s, 6),
        "attempts": call.attempts,
        "prompt_tokens": usage.prompt_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        "fallback": link.name if link else None,
    }
    return {name: value for name, value in found.items() if value is not None}
