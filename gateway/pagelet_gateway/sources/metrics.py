"""Series about where the route table comes from; labels are kinds and namespaces asked for."""

from prometheus_client import CollectorRegistry, Counter, Gauge

ALL = "*"
"""Label of a watch over all namespaces."""


class SourceMetrics:
    """The source's series, on the gateway's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.errors = Counter(
            "pagelet_gateway_source_errors_total",
            "Requests to the API server that failed, by kind of object.",
            ("kind",),
            registry=registry,
        )
        self._watching = Gauge(
            "pagelet_gateway_source_watching",
            "1 while the objects of a kind are followed, 0 while the API server does not answer "
            "and the last good table serves.",
            ("kind", "namespace"),
            registry=registry,
        )
        self.models_troubled = Gauge(
            "pagelet_gateway_source_models_troubled",
            "ModelDeployments that cannot be obeyed as they are; the log says why.",
            registry=registry,
        )
        self.keys_troubled = Gauge(
            "pagelet_gateway_source_keys_troubled",
            "Keys that a model names and no Secret holds now; the last known ones count on.",
            registry=registry,
        )

    def watching(self, kind: str, namespace: str | None, value: int) -> None:
        """Say whether a kind of object is followed."""
        self._watching.labels(kind, namespace or ALL).set(value)
