"""Every series the gateway exports, by name, with its help text.

Label values are bounded: models and revisions come from the route table (a name that only a
client uttered never becomes one), outcomes and reasons are the enumerations below. Series of
revisions that left the table are dropped when the table after that one arrives.
"""

from collections import defaultdict
from enum import StrEnum

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from pagelet_gateway.circuits import CircuitStates
from pagelet_gateway.core.shares import ShareWindow
from pagelet_gateway.crowds import Crowds
from pagelet_gateway.fast_histogram import FastHistogram
from pagelet_gateway.first_token_waits import FirstTokenWaits
from pagelet_gateway.shares import ObservedShares

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

ITL_BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1,
    0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
TTFT_BUCKETS_S = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5,
    10.0, 20.0, 40.0, 80.0, 160.0,
)  # fmt: skip
E2E_BUCKETS_S = (
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0,
)  # fmt: skip
LENGTH_BUCKETS_TOKENS = tuple(float(2**power) for power in range(3, 18))
"""8 to 131072: those of a load test's summary, since the two are compared."""


FALLBACK = "fallback"
"""Label instead of a revision where another model or API answered."""


class Outcome(StrEnum):
    """How a routed request ended."""

    OK = "ok"
    CLIENT_ERROR = "client_error"
    """The engine answered 4xx."""
    UPSTREAM_ERROR = "upstream_error"
    """The engine answered 5xx, or no HTTP."""
    UNAVAILABLE = "unavailable"
    """No endpoint took the request."""
    TIMEOUT = "timeout"
    """Its time was up, before or after the first byte."""
    CUT = "cut"
    """The answer broke off after the first byte."""
    CLIENT_GONE = "client_gone"
    """The client closed the connection."""
    BUG = "bug"
    """The gateway itself failed."""


FAILURES = frozenset(
    {Outcome.UPSTREAM_ERROR, Outcome.UNAVAILABLE, Outcome.TIMEOUT, Outcome.CUT, Outcome.BUG}
)
"""Ends that are nobody's wish; a client's error and a client that left are not among them."""


class Metrics:
    """The gateway's series on a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # a second series per counter that nothing reads
        self.registry = CollectorRegistry()
        by_revision = ("model", "revision")
        self.requests = self._counter(
            "requests_total", "Routed requests that ended.", (*by_revision, "outcome")
        )
        self.in_flight = Gauge(
            "pagelet_gateway_requests_in_flight",
            "Routed requests that have begun and not ended.",
            by_revision,
            registry=self.registry,
        )
        self.ttft = FastHistogram(
            "pagelet_gateway_time_to_first_token_seconds",
            "From the request's arrival to the first event with a token (streamed answers).",
            by_revision,
            TTFT_BUCKETS_S,
        )
        self.registry.register(self.ttft)
        self.itl = FastHistogram(
            "pagelet_gateway_inter_token_latency_seconds",
            "Gap between the events of an answer, from its first token on; events that arrive "
            "together have none between them.",
            by_revision,
            ITL_BUCKETS_S,
        )
        self.registry.register(self.itl)
        self.e2e = self._histogram(
            "e2e_request_duration_seconds",
            "From the request's arrival to the last byte, answers that ended well.",
            E2E_BUCKETS_S,
        )
        self.prompt_tokens = FastHistogram(
            "pagelet_gateway_prompt_tokens",
            "Prompt lengths of answers that ended well, where the engine tells them.",
            by_revision,
            LENGTH_BUCKETS_TOKENS,
        )
        self.output_tokens = FastHistogram(
            "pagelet_gateway_output_tokens",
            "Output lengths of answers that ended well, where the engine tells them.",
            by_revision,
            LENGTH_BUCKETS_TOKENS,
        )
        self.registry.register(self.prompt_tokens)
        self.registry.register(self.output_tokens)
        self.timeouts = self._counter(
            "timeouts_total", "Requests whose time was up.", (*by_revision, "phase")
        )
        self.retries = self._counter(
            "retries_total", "Further attempts before the first byte.", ("model", "reason")
        )
        self.load_reports = self._counter(
            "load_reports_total", "Questions to engines for their queue, by outcome.", ("outcome",)
        )
        self.mirrored = self._counter(
            "mirrored_total", "Copies of requests for a canary, by how they ended.",
            (*by_revision, "outcome"),
        )  # fmt: skip
        self.fallbacks = self._counter(
            "fallbacks_total",
            "Attempts at another model or API in place of the model asked for, by what failed.",
            ("model", "to", "reason"),
        )
        self.handed_over = self._counter(
            "handed_over_total",
            "Requests dealt to a revision that another revision, model or API answered.",
            by_revision,
        )
        self.rejected = self._counter(
            "rejected_total", "Requests the gateway answered itself, by error code.", ("reason",)
        )
        self.streams_cut = self._counter(
            "streams_cut_total", "Answers that broke off after the first byte.",
            (*by_revision, "reason"),
        )  # fmt: skip
        self._add_table_series()
        self.shares = ObservedShares()
        self.registry.register(self.shares)
        self.circuits = CircuitStates()
        self.registry.register(self.circuits)
        self.crowds = Crowds()
        self.registry.register(self.crowds)
        self.ended = ShareWindow()
        self.failed = ShareWindow()
        """Of those that ended in the last minute, the `FAILURES`."""
        self._routes: set[tuple[str, str]] = set()
        self._labelled: set[tuple[str, str]] = set()
        self._flying: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.first_token_waits = FirstTokenWaits(TTFT_BUCKETS_S, self._flying)
        self.registry.register(self.first_token_waits)

    def _add_table_series(self) -> None:
        self.table_models = self._gauge("route_table_models", "Models in the obeyed table.")
        self.table_updates = self._counter(
            "route_table_updates_total", "Tables that were read and obeyed.", ()
        )
        self.table_errors = self._counter(
            "route_table_errors_total", "Tables that were refused; the last good one stays.", ()
        )
        self.table_loaded_at = self._gauge(
            "route_table_last_success_timestamp_seconds", "When a table was last accepted, Unix."
        )
        self.fallback_trouble = Gauge(
            "pagelet_gateway_fallback_trouble",
            "1 for a model whose fallbacks form a loop or name a model without a route; the log "
            "names them.",
            ("model", "kind"),
            registry=self.registry,
        )
        self.generation = Gauge(
            "pagelet_gateway_route_generation",
            "metadata.generation of the ModelDeployment the model's route was computed from.",
            ("model",),
            registry=self.registry,
        )
        self.weight = Gauge(
            "pagelet_gateway_route_weight_percent",
            "Share of the model's requests the table asks for.",
            ("model", "revision"),
            registry=self.registry,
        )

    def set_routes(self, routes: dict[tuple[str, str], tuple[int, int]]) -> None:
        """Export weight and generation by (model, revision); drop series of departed revisions.

        A departed revision's counters stay for one more table, so that a scrape between two
        steps of a rollout still sees how its last requests ended.
        """
        self.weight.clear()
        self.generation.clear()
        for (model, revision), (weight, generation) in routes.items():
            self.weight.labels(model, revision).set(weight)
            self.generation.labels(model).set(generation)
        flying = {key for key, count in self._flying.items() if count}
        known = set(routes) | {(model, FALLBACK) for model, _ in routes}
        for key in self._labelled - known - self._routes - flying:
            self._forget(*key)
        self._labelled -= self._labelled - known - self._routes - flying
        self._routes = known

    def fell_back(self, model: str, to: str, reason: str) -> None:
        """Count an attempt at something else in place of `model`."""
        self._labelled.add((model, FALLBACK))
        self.fallbacks.labels(model, to, reason).inc()

    def begin(self, model: str, revision: str) -> None:
        """Count a request as in flight."""
        self._labelled.add((model, revision))
        self._flying[model, revision] += 1
        self.in_flight.labels(model, revision).set(self._flying[model, revision])

    def end(self, model: str, revision: str) -> None:
        """Undo one `begin`."""
        self._flying[model, revision] -= 1
        self.in_flight.labels(model, revision).set(self._flying[model, revision])

    def count_end(self, model: str, revision: str, outcome: Outcome, now: float) -> None:
        """Count a routed request by how it ended; `now` is monotonic seconds."""
        self.requests.labels(model, revision, outcome).inc()
        self.ended.count(model, revision, now)
        if outcome in FAILURES:
            self.failed.count(model, revision, now)

    def flying(self, model: str, revision: str) -> int:
        """Requests in flight."""
        return self._flying.get((model, revision), 0)

    def mirror(self, model: str, revision: str, outcome: str) -> None:
        """Count a copy of a request."""
        self._labelled.add((model, revision))
        self.mirrored.labels(model, revision, outcome).inc()

    def _forget(self, model: str, revision: str) -> None:
        key = {"model": model, "revision": revision}
        counters = (self.requests, self.timeouts, self.streams_cut, self.mirrored, self.handed_over)
        for family in (*counters, self.e2e, self.in_flight):
            family.remove_by_labels(key)
        self._flying.pop((model, revision), None)
        for histogram in (self.ttft, self.itl, self.prompt_tokens, self.output_tokens):
            histogram.labels(model, revision)
            histogram.remove(model, revision)

    def render(self) -> bytes:
        """All series in Prometheus' text format."""
        return bytes(generate_latest(self.registry))

    def _counter(self, name: str, documentation: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"pagelet_gateway_{name}", documentation, labels, registry=self.registry)

    def _gauge(self, name: str, documentation: str) -> Gauge:
        return Gauge(f"pagelet_gateway_{name}", documentation, registry=self.registry)

    def _histogram(self, name: str, documentation: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(
            f"pagelet_gateway_{name}",
            documentation,
            ("model", "revision"),
            buckets=buckets,
            registry=self.registry,
        )
