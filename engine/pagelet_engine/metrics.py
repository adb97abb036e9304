"""The engine's registry: fills the series that `series` names.

Gauges and the engine's own counters are read from its latest statistics when scraped; what clients
feel is observed here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest

from pagelet_engine.messages import EngineStats, Ready, Stepped
from pagelet_engine.series import (
    CACHE_INFO,
    COMPILE_TIME,
    CONSTRAINTS,
    E2E,
    ENGINE_SILENCE,
    EXPIRED,
    ITL,
    KV_FRAGMENTATION,
    KV_USAGE,
    KV_UTILIZATION,
    LATE_MASKS,
    MASK_WAIT,
    OPEN_SEQUENCES,
    OUTPUT_TOKENS,
    PREEMPTIONS,
    PREFIX_HIT_TOKENS,
    PREFIX_QUERY_TOKENS,
    PROMPT_TIME,
    PROMPT_TOKENS,
    QUEUE_TIME,
    RECOMPUTED_TOKENS,
    REJECTED,
    REQUEST_OUTPUT_TOKENS,
    REQUEST_PROMPT_TOKENS,
    REQUESTS,
    RUNNING,
    STEP_DURATION,
    STEPS,
    TEMPLATE_RESTARTS,
    TTFT,
    WAITING,
    WORKER_RESTARTS,
    Series,
)

_LATENCY_BUCKETS_S = (
    *(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0),
)
_WAIT_BUCKETS_S = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0),
    *(1.5, 2.0, 3.0),
    *(5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0),
)
_LENGTH_BUCKETS_TOKENS = tuple(float(2**power) for power in range(18))
"""1 to 131,072: fine enough to tell one mix of lengths from another."""

_MODEL = "model_name"


class EngineMetrics:
    """One engine's registry; all methods belong to the event loop."""

    def __init__(self, model_name: str) -> None:
        disable_created_metrics()  # a second series per counter that nobody reads
        self._model_name = model_name
        self._registry = CollectorRegistry()
        self._steps_seen = 0
        self._step_duration = self._histogram(STEP_DURATION, _LATENCY_BUCKETS_S)
        self._mask_wait = self._histogram(MASK_WAIT, _LATENCY_BUCKETS_S)
        self._prompt_time = self._histogram(PROMPT_TIME, _LATENCY_BUCKETS_S)
        self._queue_time = self._histogram(QUEUE_TIME, _WAIT_BUCKETS_S)
        self._compile_time = Histogram(
            *(COMPILE_TIME.name, COMPILE_TIME.help, [_MODEL, *COMPILE_TIME.labels]),
            buckets=_LATENCY_BUCKETS_S,
            registry=self._registry,
        )
        self._ttft = self._histogram(TTFT, _WAIT_BUCKETS_S)
        self._itl = self._histogram(ITL, _LATENCY_BUCKETS_S)
        self._e2e = self._histogram(E2E, _WAIT_BUCKETS_S)
        self._prompt_tokens = self._histogram(REQUEST_PROMPT_TOKENS, _LENGTH_BUCKETS_TOKENS)
        self._output_tokens = self._histogram(REQUEST_OUTPUT_TOKENS, _LENGTH_BUCKETS_TOKENS)
        self._requests = self._counter(REQUESTS)
        self._rejected = self._counter(REJECTED)

    def attach(
        self,
        *,
        stats: Callable[[], EngineStats],
        limits: Callable[[], Ready | None],
        num_open: Callable[[], int],
        silence_s: Callable[[], float],
        constraints: Callable[[], tuple[int, int]] = lambda: (0, 0),
        num_template_workers: Callable[[], int] = lambda: 0,
    ) -> None:
        """Read gauges and the engine's counters from these at every scrape.

        Args:
            stats: The engine's latest.
            limits: What it said when it was ready; None before.
            num_open: Sequences the API process has open.
            silence_s: Seconds since the engine process said anything.
            constraints: How many are open, and how many workers were started for them.
            num_template_workers: How many were started.
        """
        sources = _Sources(stats, limits, num_open, silence_s, constraints, num_template_workers)
        self._registry.register(_StatsCollector(self._model_name, sources))

    def observe_step(self, stepped: Stepped) -> None:
        """Record a step's time and the waits that ended in it; heartbeats bring no new step."""
        if stepped.stats.num_steps < self._steps_seen:
            self._steps_seen = 0  # another engine process than before
        if stepped.stats.num_steps > self._steps_seen:
            self._steps_seen = stepped.stats.num_steps
            self._step_duration.observe(stepped.stats.last_step_seconds)
            if stepped.stats.last_mask_seconds:
                self._mask_wait.observe(stepped.stats.last_mask_seconds)
        for output in stepped.outputs:
            if output.queue_s is not None:
                self._queue_time.observe(output.queue_s)

    def observe_prompt(self, seconds: float) -> None:
        """Record the time that one request's prompt took to become token ids."""
        self._prompt_time.observe(seconds)

    def observe_compilation(self, outcome: str, seconds: float) -> None:
        """Record how a constraint's compilation ended, one of those in COMPILE_TIME, and when."""
        self._compile_time.labels(self._model_name, outcome).observe(seconds)

    def observe_first_token(self, seconds: float) -> None:
        """Record the time from arrival to first token."""
        self._ttft.observe(seconds)

    def observe_tokens(self, gap_s: float, num_tokens: int) -> None:
        """Record `num_tokens` later tokens that arrived together `gap_s` after the last ones."""
        for _ in range(num_tokens):
            self._itl.observe(gap_s / num_tokens)

    def observe_end(
        self, outcome: str, seconds: float, *, num_prompt_tokens: int | None, num_output_tokens: int
    ) -> None:
        """Count a sequence's end.

        Args:
            outcome: One of those in REQUESTS; lengths and latency of others are not recorded.
            seconds: From the request's arrival.
            num_prompt_tokens: None if another choice of the request counts the prompt.
            num_output_tokens: Those of this sequence.
        """
        self._requests.labels(self._model_name, outcome).inc()
        if outcome not in ("stop", "length"):
            return
        self._e2e.observe(seconds)
        self._output_tokens.observe(num_output_tokens)
        if num_prompt_tokens is not None:
            self._prompt_tokens.observe(num_prompt_tokens)

    def count_rejected(self, code: str) -> None:
        """Count a request refused with the error code `code`, a constant of this program."""
        self._rejected.labels(self._model_name, code).inc()

    def exposition(self) -> bytes:
        """Return all series in Prometheus' text format."""
        return bytes(generate_latest(self._registry))

    def _histogram(self, series: Series, buckets: tuple[float, ...]) -> Histogram:
        histogram = Histogram(
            series.name, series.help, [_MODEL], buckets=buckets, registry=self._registry
        )
        return histogram.labels(self._model_name)

    def _counter(self, series: Series) -> Counter:
        return Counter(series.name, series.help, [_MODEL, *series.labels], registry=self._registry)


@dataclass(frozen=True, slots=True)
class _Sources:
    """What is asked at every scrape; see `EngineMetrics.attach`."""

    stats: Callable[[], EngineStats]
    limits: Callable[[], Ready | None]
    num_open: Callable[[], int]
    silence_s: Callable[[], float]
    constraints: Callable[[], tuple[int, int]]
    num_template_workers: Callable[[], int]


class _StatsCollector:
    """Turns the engine's statistics into samples when Prometheus asks."""

    def __init__(self, model_name: str, sources: _Sources) -> None:
        self._model_name = model_name
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        """Yield one family per series."""
        sources = self._sources
        stats, limits = sources.stats(), sources.limits()
        block_size = limits.block_size if limits else 0
        slots = stats.num_blocks_used * block_size
        num_constraints, num_workers = sources.constraints()
        values = {
            WAITING: stats.num_waiting,
            RUNNING: stats.num_running,
            KV_USAGE: stats.num_blocks_used / max(stats.num_blocks_total, 1),
            KV_FRAGMENTATION: 1 - stats.kv_slots_used / slots if slots else 0.0,
            KV_UTILIZATION: stats.kv_slots_used / max(stats.num_blocks_total * block_size, 1),
            OPEN_SEQUENCES: sources.num_open(),
            ENGINE_SILENCE: sources.silence_s(),
            PROMPT_TOKENS: stats.num_prompt_tokens,
            OUTPUT_TOKENS: stats.num_output_tokens,
            PREEMPTIONS: stats.num_preemptions,
            RECOMPUTED_TOKENS: stats.num_recomputed_tokens,
            STEPS: stats.num_steps,
            PREFIX_QUERY_TOKENS: stats.num_prefix_query_tokens,
            PREFIX_HIT_TOKENS: stats.num_prefix_hit_tokens,
            LATE_MASKS: stats.num_late_masks,
            CONSTRAINTS: num_constraints,
            WORKER_RESTARTS: max(num_workers - 1, 0),
            TEMPLATE_RESTARTS: max(sources.num_template_workers() - 1, 0),
        }
        for series, value in values.items():
            yield self._family(series, value)
        yield self._expired(stats)
        if limits is not None:
            labels = {"block_size": str(block_size), "num_gpu_blocks": str(limits.num_blocks)}
            yield self._family(CACHE_INFO, 1, labels)

    def _expired(self, stats: EngineStats) -> Metric:
        family = CounterMetricFamily(EXPIRED.name, EXPIRED.help, labels=[_MODEL, *EXPIRED.labels])
        queued = stats.num_queue_timeouts
        for cause, count in (("queued", queued), ("deadline", stats.num_expired - queued)):
            family.add_metric([self._model_name, cause], count)
        return family

    def _family(self, series: Series, value: float, labels: dict[str, str] | None = None) -> Metric:
        kind = GaugeMetricFamily if series.kind == "gauge" else CounterMetricFamily
        family = kind(series.name, series.help, labels=[_MODEL, *(labels or {})])
        family.add_metric([self._model_name, *(labels or {}).values()], value)
        return family
