"""One span per request that generates, for those who collect traces; off costs one comparison.

The span begins once the caller is known and ends with the last byte. It tells names, counts and
times, never what was said: no attribute holds text of a request or of an answer. A trace is joined
only where the gateway asks for it, since anybody else could write into other people's traces.

Nothing here knows OpenTelemetry: `otel` does, and is imported only when it is asked for.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pagelet_engine.server.text_stream import TextStream

OPERATIONS = {"/v1/chat/completions": "chat", "/v1/completions": "text_completion"}
"""Traced routes and what OpenTelemetry calls what they do."""

TRACE_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Environment variables of which any turns tracing on."""

Attributes = Mapping[str, str | int | float | Sequence[str]]


class Span(Protocol):
    """A request being traced."""

    def end(self, attributes: Attributes, error: str | None) -> None:
        """Close the span; `error` names what went wrong, a word of this program."""
        ...


class Spans(Protocol):
    """Where spans go."""

    def start(self, operation: str, traceparent: str | None) -> Span:
        """Open a span, as a part of the trace that `traceparent` names, if it does."""
        ...

    def close(self) -> None:
        """Send what is left; may take some seconds, and belongs to no event loop."""
        ...


def spans_from(environment: Mapping[str, str], model_name: str) -> Spans | None:
    """Return where traces go, if the environment says so.

    Raises:
        ConfigError: It does, but the extra `otel` is not installed.
    """
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if not any(environment.get(name) for name in TRACE_ENDPOINTS):
        return None
    # Imported here: who wants no traces needs no OpenTelemetry, nor the time to import it.
    from pagelet_engine.server.otel import OtelSpans

    return OtelSpans(model_name)


class Traced:
    """ASGI middleware behind the guard."""

    def __init__(self, app: ASGIApp, spans: Spans, model_name: str) -> None:
        self._app = app
        self._spans = spans
        self._model_name = model_name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        operation = OPERATIONS.get(scope.get("path", "")) if scope["type"] == "http" else None
        if operation is None:
            await self._app(scope, receive, send)
            return
        status = 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        span = self._spans.start(operation, _traceparent(scope))
        error: str | None = "disconnected"
        try:
            await self._app(scope, receive, send_and_note)
            error = _error(status, scope["state"])
        except Exception as raised:
            error = type(raised).__name__
            raise
        finally:
            span.end(self._attributes(operation, status, scope["state"]), error)

    def _attributes(self, operation: str, status: int, state: Mapping[str, object]) -> Attributes:
        """Return what is known at the end, under OpenTelemetry's names where it has some.

        Source: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans
        """
        found: dict[str, str | int | float | Sequence[str]] = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": "pagelet",
            "gen_ai.request.model": self._model_name,
            "gen_ai.response.model": self._model_name,
            "http.response.status_code": status,
            "pagelet.request_id": str(state["request_id"]),
        }
        streams = _streams(state)
        if streams:
            found |= _counts(streams)
        return found


def _counts(streams: Sequence[TextStream]) -> dict[str, str | int | float | Sequence[str]]:
    counted = [stream for stream in streams if stream.counts_prompt]
    first_token_s = [stream.first_token_s for stream in streams if stream.first_token_s is not None]
    found: dict[str, str | int | float | Sequence[str]] = {
        "gen_ai.request.choice.count": len(streams),
        "gen_ai.response.finish_reasons": [stream.outcome or "aborted" for stream in streams],
        "gen_ai.usage.input_tokens": sum(stream.num_prompt_tokens for stream in counted),
        "gen_ai.usage.cache_read.input_tokens": sum(s.num_cached_tokens for s in counted),
        "gen_ai.usage.output_tokens": sum(stream.num_output_tokens for stream in streams),
    }
    if first_token_s:
        found["gen_ai.response.time_to_first_chunk"] = min(first_token_s)
    return found


def _error(status: int, state: Mapping[str, object]) -> str | None:
    if status >= 400:
        return str(status)
    outcomes = {stream.outcome for stream in _streams(state)}
    return next((word for word in ("error", "aborted") if word in outcomes), None)


def _streams(state: Mapping[str, object]) -> Sequence[TextStream]:
    streams = state.get("streams", ())
    assert isinstance(streams, Sequence), "the routes put their streams here"
    return streams


def _traceparent(scope: Scope) -> str | None:
    if not scope["state"]["caller"].is_gateway:
        return None
    for name, value in scope["headers"]:
        if name == b"traceparent":
            return str(value.decode("latin-1"))
    return None
