"""The operator asks for series that gateways and engines export, and knows every outcome."""

import msgspec

from pagelet_bench.core.gates.summary import LENGTH_BOUNDS
from pagelet_engine.messages import EngineStats
from pagelet_engine.metrics import EngineMetrics
from pagelet_gateway.metrics import FALLBACK, LENGTH_BUCKETS_TOKENS, Metrics, Outcome
from pagelet_operator.telemetry import series
from pagelet_operator.telemetry.exposition import samples
from pagelet_operator.telemetry.series import engine_counts, gateway_counts


def a_gateway() -> Metrics:
    metrics = Metrics()
    metrics.set_routes({("m", "m-1"): (100, 1)})
    metrics.begin("m", "m-1")
    metrics.first_token_waits.watch(lambda now: [(("m", "m-1"), 0.4), (("m", "m-1"), 500.0)])
    for outcome in Outcome:
        metrics.requests.labels("m", "m-1", outcome).inc()
    metrics.handed_over.labels("m", "m-1").inc(3)
    metrics.ttft.labels("m", "m-1").observe(0.3)
    metrics.itl.labels("m", "m-1").observe(0.03)
    metrics.e2e.labels("m", "m-1").observe(2.5)
    metrics.prompt_tokens.labels("m", "m-1").observe(300)
    metrics.output_tokens.labels("m", "m-1").observe(20)
    return metrics


def test_every_series_asked_of_a_gateway_is_exported():
    text = a_gateway().render().decode()
    wanted = series.GATEWAY | {series.ALIVE}
    assert {sample.name for sample in samples(text, wanted)} == wanted


def test_what_a_gateway_counts_is_understood():
    found = gateway_counts(samples(a_gateway().render().decode(), series.GATEWAY))["m", "m-1"]
    assert found.requests == len(Outcome) - 1, "all but the clients that left"
    assert (found.errors, found.refusals, found.timeouts, found.fallbacks) == (4, 1, 1, 3)
    assert found.abandoned == 1
    assert 0.2 < found.ttft.quantile(0.5) <= 0.35
    assert found.waiting.bounds == found.ttft.bounds
    assert found.waiting.quantile(0.5) == 0.5, "0.35 to 0.5"
    assert found.waiting.counts[-1] == 1, "above all bounds"
    assert 0.02 < found.itl.quantile(0.5) <= 0.03
    assert found.request_seconds == 2.5
    assert found.in_flight_sum == 1
    assert 256 < found.prompt_lengths.quantile(0.5) <= 512
    assert 16 < found.output_lengths.quantile(0.5) <= 32


def test_users_lengths_and_a_load_test_s_are_counted_in_the_same_buckets():
    assert LENGTH_BUCKETS_TOKENS == LENGTH_BOUNDS


def test_both_call_it_fallback():
    assert series.FALLBACK == FALLBACK


def test_what_an_engine_counts_is_understood():
    metrics = EngineMetrics("m")
    numbers = {field.name: 0 for field in msgspec.structs.fields(EngineStats) if field.required}
    stats = EngineStats(**{**numbers, "num_waiting": 5})
    metrics.attach(
        stats=lambda: stats,
        limits=lambda: None,
        num_open=lambda: 0,
        silence_s=lambda: 0.0,
    )
    text = metrics.exposition().decode()
    assert {sample.name for sample in samples(text, series.ENGINE)} == series.ENGINE
    found = engine_counts(samples(text, series.ENGINE))
    assert (found.queue_samples, found.queue_sum, found.output_tokens) == (1, 5.0, 0)
    assert (found.kv_samples, found.kv_sum) == (1, 0.0)
