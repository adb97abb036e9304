"""The gateway's spans to an OpenTelemetry collector, over OTLP/HTTP; needs the extra `otel`.

OpenTelemetry's own environment variables configure it. Spans are sent in batches by a thread of
their own; a collector that is away costs spans, never requests.

Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

import os
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from pagelet_gateway.errors import ConfigError

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
"""For one batch, unless the environment says otherwise: a collector that does not answer delays
the exit by no more than this."""

_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")


class OtelSpans:
    """Spans of one gateway; see `journal.Spans`."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Start the thread that sends; nothing is sent before there is a span."""
        timed = any(name in environment for name in _TIMEOUTS)
        exporter = OTLPSpanExporter(timeout=None if timed else _EXPORT_TIMEOUT_S)
        resource = Resource.create(
            {"service.name": "pagelet-gateway", "service.version": version("pagelet")}
        )
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("pagelet_gateway")
        self._propagator = TraceContextTextMapPropagator()

    def start(self, name: str, traceparent: str | None) -> "_OtelSpan":
        """Open a span of the client's trace, or of a new one."""
        carrier = {} if traceparent is None else {"traceparent": traceparent}
        span = self._tracer.start_span(
            name, context=self._propagator.extract(carrier), kind=SpanKind.SERVER
        )
        return _OtelSpan(span)

    def close(self) -> None:
        """Send what is left and end the thread."""
        self._provider.shutdown()


class _OtelSpan:
    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        seen = self._span.get_span_context()
        return f"00-{seen.trace_id:032x}-{seen.span_id:016x}-{int(seen.trace_flags):02x}"

    def end(self, name: str, attributes: Mapping[str, Any], error: str | None) -> None:
        self._span.update_name(name)
        self._span.set_attributes(dict(attributes))
        if error is not None:
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()
