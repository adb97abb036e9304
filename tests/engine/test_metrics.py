"""What /metrics shows, and that it is what the list of series promises."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pagelet_engine.constraints.client import OUTCOMES
from pagelet_engine.messages import EngineStats, Ready, Stepped, TokenOutput
from pagelet_engine.metrics import EngineMetrics
from pagelet_engine.series import ALL_SERIES, COMPILE_TIME

READY = Ready(
    vocab_size=10,
    max_model_len=64,
    num_blocks=100,
    block_size=16,
    dtype="float32",
    device="cpu",
    kv_cache_bytes=0,
    weights_bytes=0,
    load_seconds=0.0,
)
STATS = EngineStats(
    num_waiting=3,
    num_running=2,
    num_blocks_used=25,
    num_blocks_total=100,
    kv_slots_used=300,
    num_steps=7,
    num_preemptions=1,
    num_recomputed_tokens=11,
    num_prompt_tokens=50,
    num_output_tokens=60,
    last_step_seconds=0.02,
    num_prefix_query_tokens=90,
    num_prefix_hit_tokens=40,
    num_expired=5,
    num_queue_timeouts=2,
    last_mask_seconds=0.002,
    num_late_masks=4,
)


@pytest.fixture
def metrics():
    metrics = EngineMetrics("m")
    metrics.attach(
        stats=lambda: STATS,
        limits=lambda: READY,
        num_open=lambda: 5,
        silence_s=lambda: 0.25,
        constraints=lambda: (6, 3),
        num_template_workers=lambda: 8,
    )
    return metrics


def samples(metrics):
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


MODEL = ("model_name", "m")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vllm:num_requests_waiting", 3),
        ("vllm:num_requests_running", 2),
        ("vllm:kv_cache_usage_perc", 0.25),
        ("pagelet_engine_kv_cache_fragmentation_ratio", 0.25),  # 300 of 25 * 16 slots
        ("pagelet_engine_open_sequences", 5),
        ("pagelet_engine_silence_seconds", 0.25),
        ("pagelet_engine_prompt_tokens_total", 50),
        ("pagelet_engine_output_tokens_total", 60),
        ("pagelet_engine_preemptions_total", 1),
        ("pagelet_engine_recomputed_tokens_total", 11),
        ("pagelet_engine_prefix_cache_query_tokens_total", 90),
        ("pagelet_engine_prefix_cache_hit_tokens_total", 40),
        ("pagelet_engine_kv_cache_utilization_ratio", 300 / 1600),
        ("pagelet_engine_constraint_masks_late_total", 4),
        ("pagelet_engine_constraints_open", 6),
        ("pagelet_engine_constraint_worker_restarts_total", 2),
        ("pagelet_engine_template_worker_restarts_total", 7),
        ("pagelet_engine_steps_total", 7),
    ],
)
def test_the_engines_statistics_are_shown_as_they_are(metrics, name, value):
    assert samples(metrics)[name, MODEL] == value


def test_the_caches_shape_is_in_labels(metrics):
    key = ("vllm:cache_config_info", ("block_size", "16"), MODEL, ("num_gpu_blocks", "100"))
    assert samples(metrics)[key] == 1


def test_an_empty_cache_is_not_fragmented():
    metrics = EngineMetrics("m")
    metrics.attach(
        stats=EngineStats, limits=lambda: None, num_open=lambda: 0, silence_s=lambda: 0.0
    )
    assert samples(metrics)["pagelet_engine_kv_cache_fragmentation_ratio", MODEL] == 0


def test_a_heartbeat_is_no_step(metrics):
    for _ in range(3):
        metrics.observe_step(Stepped([], STATS))
    assert samples(metrics)["pagelet_engine_step_duration_seconds_count", MODEL] == 1


def test_tokens_that_come_together_share_the_gap(metrics):
    metrics.observe_tokens(0.4, 4)
    seen = samples(metrics)
    assert seen["pagelet_engine_inter_token_latency_seconds_count", MODEL] == 4
    assert seen["pagelet_engine_inter_token_latency_seconds_sum", MODEL] == pytest.approx(0.4)


def test_only_sequences_that_ended_by_themselves_count_in_e2e(metrics):
    for outcome in ("stop", "length", "aborted", "error"):
        metrics.observe_end(outcome, 1.0, num_prompt_tokens=5, num_output_tokens=3)
    seen = samples(metrics)
    assert seen["pagelet_engine_e2e_request_latency_seconds_count", MODEL] == 2
    assert seen["pagelet_engine_requests_total", MODEL, ("outcome", "aborted")] == 1


def test_exactly_the_listed_series_are_exported_with_their_help(metrics):
    metrics.observe_end("stop", 1.0, num_prompt_tokens=5, num_output_tokens=3)
    metrics.count_rejected("invalid_value")
    metrics.observe_first_token(0.1)
    metrics.observe_compilation("compiled", 0.1)
    families = list(text_string_to_metric_families(metrics.exposition().decode()))
    exported = {
        (family.name + "_total" * (family.type == "counter"), family.type, family.documentation)
        for family in families
    }
    assert exported == {(series.name, series.kind, series.help) for series in ALL_SERIES}


def test_every_latency_is_resolved_from_a_millisecond_on(metrics):
    metrics.observe_compilation("compiled", 0.1)
    found = {name for name, *labels in samples(metrics) if ("le", "0.001") in labels}
    histograms = {series.name for series in ALL_SERIES if series.kind == "histogram"}
    assert found == {f"{name}_bucket" for name in histograms if name.endswith("_seconds")}


def test_lengths_are_told_by_powers_of_two_and_a_shared_prompt_counts_once(metrics):
    for num_prompt_tokens in (300, None, None):
        metrics.observe_end(
            "stop", 1.0, num_prompt_tokens=num_prompt_tokens, num_output_tokens=131_000
        )
    metrics.observe_end("aborted", 1.0, num_prompt_tokens=9, num_output_tokens=1)
    seen = samples(metrics)
    prompt, output = (f"pagelet_engine_request_{kind}_tokens" for kind in ("prompt", "output"))
    assert (seen[f"{prompt}_count", MODEL], seen[f"{prompt}_sum", MODEL]) == (1, 300)
    assert seen[f"{output}_count", MODEL] == 3
    for name, below, within in ((prompt, "256.0", "512.0"), (output, "65536.0", "131072.0")):
        assert seen[f"{name}_bucket", ("le", below), MODEL] == 0
        assert seen[f"{name}_bucket", ("le", within), MODEL] == seen[f"{name}_count", MODEL]


def test_what_time_ended_is_told_by_its_cause(metrics):
    seen = samples(metrics)
    name = "pagelet_engine_requests_expired_total"
    assert seen[name, ("cause", "queued"), MODEL] == 2
    assert seen[name, ("cause", "deadline"), MODEL] == 3


def test_waits_for_the_first_step_and_for_masks_are_recorded_once(metrics):
    first = TokenOutput(1, [5], queue_s=0.25)
    metrics.observe_step(Stepped([first, TokenOutput(2, [5])], STATS))
    metrics.observe_step(Stepped([TokenOutput(1, [5])], STATS))
    seen = samples(metrics)
    assert seen["pagelet_engine_queue_time_seconds_count", MODEL] == 1
    assert seen["pagelet_engine_queue_time_seconds_sum", MODEL] == 0.25
    assert seen["pagelet_engine_step_mask_wait_seconds_sum", MODEL] == 0.002


def test_the_time_of_prompts_is_recorded(metrics):
    metrics.observe_prompt(0.003)
    assert samples(metrics)["pagelet_engine_prompt_encoding_seconds_sum", MODEL] == 0.003


def test_compilations_are_counted_by_outcome(metrics):
    for outcome in OUTCOMES:
        metrics.observe_compilation(outcome, 0.5)
    name = "pagelet_engine_constraint_compile_seconds_count"
    assert samples(metrics)[name, MODEL, ("outcome", "refused")] == 1
    assert all(outcome in COMPILE_TIME.help for outcome in OUTCOMES)
