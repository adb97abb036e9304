"""Spans to an OpenTelemetry collector, over OTLP/HTTP; needs the extra `otel`.

Everything is configured by OpenTelemetry's own environment variables, such as
OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS and OTEL_TRACES_SAMPLER. Spans are sent in
batches by a thread of their own; a collector that is away costs spans, never requests.

Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

import os
from collections.abc import Mapping
from importlib.metadata import version

from pagelet_engine.errors import ConfigError
from pagelet_engine.server.tracing import Attributes

try:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise ConfigError(
        f"traces are asked for by the environment, but {error.name} is not installed; "
        f"`pip install 'pagelet[otel]'`, or unset OTEL_EXPORTER_OTLP_ENDPOINT."
    ) from error

_EXPORT_TIMEOUT_S = 3.0
"""For one batch, unless OTEL_EXPORTER_OTLP_TIMEOUT says otherwise: the longest that a collector
which does not answer can delay the exit."""

_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")


class OtelSpans:
    """Spans of one server."""

    def __init__(self, model_name: str, environment: Mapping[str, str] = os.environ) -> None:
        """Start the thread that sends; nothing is sent before there is a span."""
        timed = any(name in environment for name in _TIMEOUTS)
        exporter = OTLPSpanExporter(timeout=None if timed else _EXPORT_TIMEOUT_S)
        resource = Resource.create(
            {"service.name": "pagelet-engine", "service.version": version("pagelet")}
        )
        self._model_name = model_name
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("pagelet_engine")
        self._propagator = TraceContextTextMapPropagator()

    def start(self, operation: str, traceparent: str | None) -> "_OtelSpan":
        """Open a span named as the conventions want it; see `tracing.Spans`."""
        carrier = {} if traceparent is None else {"traceparent": traceparent}
        span = self._tracer.start_span(
            f"{operation} {self._model_name}",
            # An empty context, not the current one: nothing here makes a span current.
            context=self._propagator.extract(carrier),
            kind=SpanKind.SERVER,
        )
        return _OtelSpan(span)

    def close(self) -> None:
        """Send what is left and end the thread."""
        self._provider.shutdown()


class _OtelSpan:
    def __init__(self, span: Span) -> None:
        self._span = span

    def end(self, attributes: Attributes, error: str | None) -> None:
        self._span.set_attributes(dict(attributes))
        if error is not None:
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()
