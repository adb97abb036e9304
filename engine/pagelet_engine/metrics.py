"""Every series the engine exports, with its meaning: the one place names are written.

Five have the well-known names of the model server protocol, so that existing routers and
dashboards can read this engine; all others begin with `pagelet_engine_`. Gauges and the engine's
own counters are read from its latest statistics when scraped; what clients feel is observed here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest

from pagelet_engine.messages import EngineStats, Ready, Stepped


@dataclass(frozen=True, slots=True)
class Series:
    """One exported series."""

    name: str
    kind: str
    """gauge, counter or histogram."""
    help: str
    labels: tuple[str, ...] = ()
    """Beside `model_name`, which every series has."""


_LATENCY_BUCKETS_S = (
    *(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0),
)
_WAIT_BUCKETS_S = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0),
    *(1.5, 2.0, 3.0),
    *(5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0),
)

WAITING = Series("vllm:num_requests_waiting", "gauge", "Sequences waiting for their first step.")
RUNNING = Series("vllm:num_requests_running", "gauge", "Sequences being computed.")
KV_USAGE = Series(
    "vllm:kv_cache_usage_perc", "gauge", "Share of the KV cache's blocks in use, in [0, 1]."
)
CACHE_INFO = Series(
    "vllm:cache_config_info",
    "gauge",
    "Always 1; labels give tokens per KV block and the number of blocks.",
    ("block_size", "num_gpu_blocks"),
)
KV_FRAGMENTATION = Series(
    "pagelet_engine_kv_cache_fragmentation_ratio",
    "gauge",
    "Share of token slots in used blocks that hold nothing, in [0, 1].",
)
KV_UTILIZATION = Series(
    "pagelet_engine_kv_cache_utilization_ratio",
    "gauge",
    "Share of all token slots of the KV cache that hold something in use, in [0, 1].",
)
OPEN_SEQUENCES = Series(
    "pagelet_engine_open_sequences",
    "gauge",
    "Sequences accepted by the API process and not ended.",
)
ENGINE_SILENCE = Series(
    "pagelet_engine_silence_seconds",
    "gauge",
    "Time since the engine process last said anything; it should stay below one step.",
)
PROMPT_TOKENS = Series(
    "pagelet_engine_prompt_tokens_total",
    "counter",
    "Prompt tokens computed, without recomputation.",
)
OUTPUT_TOKENS = Series("pagelet_engine_output_tokens_total", "counter", "Tokens generated.")
PREEMPTIONS = Series(
    "pagelet_engine_preemptions_total",
    "counter",
    "Times a running sequence gave its blocks back to be computed again later.",
)
RECOMPUTED_TOKENS = Series(
    "pagelet_engine_recomputed_tokens_total", "counter", "Tokens computed again after preemption."
)
PREFIX_QUERY_TOKENS = Series(
    "pagelet_engine_prefix_cache_query_tokens_total",
    "counter",
    "Prompt tokens of sequences begun, each a chance for the prefix cache.",
)
PREFIX_HIT_TOKENS = Series(
    "pagelet_engine_prefix_cache_hit_tokens_total",
    "counter",
    "Prompt tokens found in the prefix cache.",
)
EXPIRED = Series(
    "pagelet_engine_requests_expired_total",
    "counter",
    "Sequences ended by time: queued (waited too long for the first step), deadline (their own).",
    ("cause",),
)
STEPS = Series("pagelet_engine_steps_total", "counter", "Engine steps.")
STEP_DURATION = Series(
    "pagelet_engine_step_duration_seconds", "histogram", "Time of one engine step."
)
MASK_WAIT = Series(
    "pagelet_engine_step_mask_wait_seconds",
    "histogram",
    "What steps with constrained sequences waited for their masks; part of the step's duration.",
)
LATE_MASKS = Series(
    "pagelet_engine_constraint_masks_late_total",
    "counter",
    "Sequences ended because their constraint gave no mask in time.",
)
CONSTRAINTS = Series(
    "pagelet_engine_constraints_open",
    "gauge",
    "Constraints in use or being compiled, each a process.",
)
COMPILE_TIME = Series(
    "pagelet_engine_constraint_compile_seconds",
    "histogram",
    "Time to compile a constraint, its queue included; outcome: compiled, refused, unavailable.",
    ("outcome",),
)
WORKER_RESTARTS = Series(
    "pagelet_engine_constraint_worker_restarts_total",
    "counter",
    "Times the process that compiles constraints was started in place of a dead one.",
)
QUEUE_TIME = Series(
    "pagelet_engine_queue_time_seconds",
    "histogram",
    "From a sequence's arrival in the engine process to its first step; begun ones only.",
)
TTFT = Series(
    "pagelet_engine_time_to_first_token_seconds",
    "histogram",
    "From the request's arrival to its first token, queueing included.",
)
ITL = Series(
    "pagelet_engine_inter_token_latency_seconds",
    "histogram",
    "Gap between tokens of one sequence; tokens that arrive together share the gap evenly.",
)
E2E = Series(
    "pagelet_engine_e2e_request_latency_seconds",
    "histogram",
    "From a request's arrival to its last token; sequences that ended by themselves only.",
)
REQUESTS = Series(
    "pagelet_engine_requests_total",
    "counter",
    "Sequences ended, by outcome: stop, length, aborted (the client left), error.",
    ("outcome",),
)
REJECTED = Series(
    "pagelet_engine_requests_rejected_total",
    "counter",
    "Requests refused before any generation, by error code.",
    ("reason",),
)

ALL_SERIES = (
    *(WAITING, RUNNING, KV_USAGE, CACHE_INFO, KV_FRAGMENTATION, OPEN_SEQUENCES, ENGINE_SILENCE),
    *(PROMPT_TOKENS, OUTPUT_TOKENS, PREEMPTIONS, RECOMPUTED_TOKENS, STEPS),
    *(PREFIX_QUERY_TOKENS, PREFIX_HIT_TOKENS, EXPIRED),
    *(MASK_WAIT, LATE_MASKS, CONSTRAINTS, COMPILE_TIME, WORKER_RESTARTS, KV_UTILIZATION),
    *(STEP_DURATION, QUEUE_TIME, TTFT, ITL, E2E, REQUESTS, REJECTED),
)
"""What /metrics shows; the reference page is generated from it."""

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
        self._queue_time = self._histogram(QUEUE_TIME, _WAIT_BUCKETS_S)
        self._compile_time = Histogram(
            *(COMPILE_TIME.name, COMPILE_TIME.help, [_MODEL, *COMPILE_TIME.labels]),
            buckets=_LATENCY_BUCKETS_S,
            registry=self._registry,
        )
        self._ttft = self._histogram(TTFT, _WAIT_BUCKETS_S)
        self._itl = self._histogram(ITL, _LATENCY_BUCKETS_S)
        self._e2e = self._histogram(E2E, _WAIT_BUCKETS_S)
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
    ) -> None:
        """Read gauges and the engine's counters from these at every scrape.

        Args:
            stats: The engine's latest.
            limits: What it said when it was ready; None before.
            num_open: Sequences the API process has open.
            silence_s: Seconds since the engine process said anything.
            constraints: How many are open, and how many workers were started for them.
        """
        self._registry.register(
            _StatsCollector(self._model_name, stats, limits, num_open, silence_s, constraints)
        )

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

    def observe_end(self, outcome: str, seconds: float) -> None:
        """Count a sequence's end; `outcome` is one of those in REQUESTS."""
        self._requests.labels(self._model_name, outcome).inc()
        if outcome in ("stop", "length"):
            self._e2e.observe(seconds)

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


class _StatsCollector:
    """Turns the engine's statistics into samples when Prometheus asks."""

    def __init__(
        self,
        model_name: str,
        stats: Callable[[], EngineStats],
        limits: Callable[[], Ready | None],
        num_open: Callable[[], int],
        silence_s: Callable[[], float],
        constraints: Callable[[], tuple[int, int]],
    ) -> None:
        self._model_name = model_name
        self._stats = stats
        self._limits = limits
        self._num_open = num_open
        self._silence_s = silence_s
        self._constraints = constraints

    def collect(self) -> Iterator[Metric]:
        """Yield one family per series."""
        stats, limits = self._stats(), self._limits()
        block_size = limits.block_size if limits else 0
        slots = stats.num_blocks_used * block_size
        num_constraints, num_workers = self._constraints()
        values = {
            WAITING: stats.num_waiting,
            RUNNING: stats.num_running,
            KV_USAGE: stats.num_blocks_used / max(stats.num_blocks_total, 1),
            KV_FRAGMENTATION: 1 - stats.kv_slots_used / slots if slots else 0.0,
            KV_UTILIZATION: stats.kv_slots_used / max(stats.num_blocks_total * block_size, 1),
            OPEN_SEQUENCES: self._num_open(),
            ENGINE_SILENCE: self._silence_s(),
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
