"""Which exported series say what about a revision: the one place that names them.

A contract test holds these names against what gateway and engine export.
"""

from collections import defaultdict
from collections.abc import Iterable

from pagelet_operator.core.ledger import Key, per_bucket
from pagelet_operator.core.scaling.reading import ReplicaLoad
from pagelet_operator.core.window import Window
from pagelet_operator.telemetry.exposition import ExpositionError, Sample

REQUESTS = "pagelet_gateway_requests_total"
HANDED_OVER = "pagelet_gateway_handed_over_total"
TTFT = "pagelet_gateway_time_to_first_token_seconds"
FIRST_TOKEN_WAIT = "pagelet_gateway_waiting_for_first_token"  # noqa: S105
ITL = "pagelet_gateway_inter_token_latency_seconds"
PROMPT_LENGTH = "pagelet_gateway_prompt_tokens"
OUTPUT_LENGTH = "pagelet_gateway_output_tokens"
E2E = "pagelet_gateway_e2e_request_duration_seconds"
IN_FLIGHT = "pagelet_gateway_requests_in_flight"
ALIVE = "pagelet_gateway_route_table_models"
"""Every gateway exports it from its first moment."""

TTFT_BUCKET, ITL_BUCKET, E2E_SUM = f"{TTFT}_bucket", f"{ITL}_bucket", f"{E2E}_sum"
PROMPT_BUCKET, OUTPUT_BUCKET = f"{PROMPT_LENGTH}_bucket", f"{OUTPUT_LENGTH}_bucket"

_BUCKETS = frozenset({TTFT_BUCKET, FIRST_TOKEN_WAIT, ITL_BUCKET, PROMPT_BUCKET, OUTPUT_BUCKET})

GATEWAY = frozenset({REQUESTS, HANDED_OVER, E2E_SUM, IN_FLIGHT}) | _BUCKETS

WAITING = "vllm:num_requests_waiting"
RUNNING = "vllm:num_requests_running"
KV_USAGE = "vllm:kv_cache_usage_perc"
OUTPUT_TOKENS = "pagelet_engine_output_tokens_total"

ENGINE = frozenset({WAITING, RUNNING, KV_USAGE, OUTPUT_TOKENS})

FALLBACK = "fallback"
"""What gateways write in place of a revision where another model or API answered."""

_ERRORS = frozenset({"upstream_error", "unavailable", "cut", "bug"})
_ABANDONED = "client_gone"
"""An end apart: clients leave for reasons of their own, and leave an engine that hangs."""


def gateway_counts(found: Iterable[Sample]) -> dict[Key, Window]:
    """Return what the samples of one gateway count, by model and revision.

    Raises:
        ExpositionError: A sample lacks a label, or a histogram is none.
    """
    by_key: defaultdict[Key, list[Sample]] = defaultdict(list)
    for sample in found:
        try:
            key = sample.labels["model"], sample.labels["revision"]
        except KeyError as missing:
            raise ExpositionError(f"{sample.name} has no label {missing}") from None
        if key[1] != FALLBACK:
            by_key[key].append(sample)
    return {key: _window(samples) for key, samples in by_key.items()}


def engine_counts(found: Iterable[Sample]) -> Window:
    """Return what the samples of one engine count: its tokens, and its queue and cache now."""
    told: dict[str, float] = {}
    for sample in found:
        told[sample.name] = told.get(sample.name, 0.0) + sample.value
    tokens = told.get(OUTPUT_TOKENS)
    return Window(
        since=0.0,
        until=0.0,
        output_tokens=None if tokens is None else round(tokens),
        queue_samples=int(WAITING in told),
        queue_sum=told.get(WAITING, 0.0),
        kv_samples=int(KV_USAGE in told),
        kv_sum=min(1.0, told.get(KV_USAGE, 0.0)),
    )


def replica_load(found: Iterable[Sample], now: float) -> ReplicaLoad | None:
    """Return what an engine says of its load; None if it does not say all of it.

    Args:
        found: The samples of one engine.
        now: When it was asked, Unix seconds.
    """
    told: defaultdict[str, float] = defaultdict(float)
    for sample in found:
        told[sample.name] += sample.value
    if not {WAITING, RUNNING, KV_USAGE} <= told.keys():
        return None
    return ReplicaLoad(
        at=now, running=told[RUNNING], waiting=told[WAITING], kv_usage=min(1.0, told[KV_USAGE])
    )


def _window(found: list[Sample]) -> Window:
    ended: defaultdict[str, int] = defaultdict(int)
    plain: defaultdict[str, float] = defaultdict(float)
    buckets: defaultdict[str, dict[float, float]] = defaultdict(dict)
    for sample in found:
        if sample.name == REQUESTS:
            ended[sample.labels.get("outcome", "")] += round(sample.value)
        elif sample.name in _BUCKETS:
            buckets[sample.name][_bound(sample)] = sample.value
        else:
            plain[sample.name] += sample.value
    try:
        histograms = {name: per_bucket(bounds) for name, bounds in buckets.items()}
    except ValueError as error:
        raise ExpositionError(f"{found[0].labels}: {error}") from None
    nothing = Window(since=0.0, until=0.0)
    return Window(
        since=0.0,
        until=0.0,
        requests=sum(count for end, count in ended.items() if end != _ABANDONED),
        errors=sum(count for end, count in ended.items() if end in _ERRORS),
        refusals=ended["client_error"],
        timeouts=ended["timeout"],
        fallbacks=round(plain[HANDED_OVER]),
        abandoned=ended[_ABANDONED],
        ttft=histograms.get(TTFT_BUCKET, nothing.ttft),
        waiting=histograms.get(FIRST_TOKEN_WAIT, nothing.waiting),
        itl=histograms.get(ITL_BUCKET, nothing.itl),
        prompt_lengths=histograms.get(PROMPT_BUCKET, nothing.prompt_lengths),
        output_lengths=histograms.get(OUTPUT_BUCKET, nothing.output_lengths),
        request_seconds=plain[E2E_SUM],
        in_flight_sum=plain[IN_FLIGHT],
    )


def _bound(sample: Sample) -> float:
    try:
        return float(sample.labels["le"])
    except (KeyError, ValueError):
        raise ExpositionError(f"{sample.name} has a bucket without bound") from None
