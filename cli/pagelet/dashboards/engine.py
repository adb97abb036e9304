"""The dashboard of the engines' insides: queue, cache, steps, prefix hits, preemptions."""

from pagelet.dashboards.grafana import Board, Panel, Query
from pagelet.dashboards.queries import BY_ENGINE, WINDOW, gauge, models, quantiles, rate

ENGINE = Board(
    uid="pagelet-engine",
    title="Engine internals",
    about="Where an engine's time and memory go: queue, KV cache, steps, prefix hits, preemptions.",
    variables=(models("vllm:num_requests_running", "model_name"),),
    panels=(
        Panel(
            title="Waiting and running",
            about="Sequences waiting for their first step, and those being computed.",
            queries=(
                *gauge("vllm:num_requests_waiting", BY_ENGINE, "instance", "waiting {{instance}}"),
                *gauge("vllm:num_requests_running", BY_ENGINE, "instance", "running {{instance}}"),
            ),
        ),
        Panel(
            title="Time in queue",
            about="From a sequence's arrival in the engine process to its first step.",
            queries=quantiles(
                "pagelet_engine_queue_time_seconds", BY_ENGINE, "model_name", "{{model_name}}"
            ),
            unit="s",
        ),
        Panel(
            title="KV cache in use",
            about="Share of blocks in use, and of token slots that hold something.",
            queries=(
                *gauge("vllm:kv_cache_usage_perc", BY_ENGINE, "instance", "blocks {{instance}}",
                        "max"),
                *gauge("pagelet_engine_kv_cache_utilization_ratio", BY_ENGINE, "instance",
                        "slots {{instance}}", "max"),
            ),
            unit="percentunit", thresholds=(0.8, 0.95),
        ),
        Panel(
            title="KV cache wasted",
            about="Share of token slots in used blocks that hold nothing.",
            queries=gauge(
                "pagelet_engine_kv_cache_fragmentation_ratio", BY_ENGINE, "instance",
                "{{instance}}", "max",
            ),
            unit="percentunit",
        ),
        Panel(
            title="Step time",
            about="Time of one engine step; a decoding client waits one step per token.",
            queries=quantiles(
                "pagelet_engine_step_duration_seconds", BY_ENGINE, "model_name", "{{model_name}}"
            ),
            unit="s",
        ),
        Panel(
            title="Tokens per second",
            about="Prompt tokens computed, output tokens, and tokens computed again.",
            queries=(
                *rate("pagelet_engine_prompt_tokens_total", BY_ENGINE, "model_name",
                       "prompt {{model_name}}"),
                *rate("pagelet_engine_output_tokens_total", BY_ENGINE, "model_name",
                       "output {{model_name}}"),
                *rate("pagelet_engine_recomputed_tokens_total", BY_ENGINE, "model_name",
                       "again {{model_name}}"),
            ),
        ),
        Panel(
            title="Prefix cache hits",
            about="Share of prompt tokens found in the prefix cache.",
            queries=(
                Query(
                    "sum by (model_name) "
                    f"(rate(pagelet_engine_prefix_cache_hit_tokens_total{{{BY_ENGINE}}}[{WINDOW}]))"
                    " / (sum by (model_name) (rate("
                    f"pagelet_engine_prefix_cache_query_tokens_total{{{BY_ENGINE}}}[{WINDOW}])) "
                    "> 0)",
                    "{{model_name}}",
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            title="Preemptions",
            about="Times a running sequence gave its blocks back; each is paid for in tokens.",
            queries=rate("pagelet_engine_preemptions_total", BY_ENGINE, "instance", "{{instance}}"),
        ),
        Panel(
            title="Prompt tokens",
            about="Length of prompts, per request.",
            queries=quantiles(
                "pagelet_engine_request_prompt_tokens", BY_ENGINE, "model_name", "{{model_name}}"
            ),
        ),
        Panel(
            title="Output tokens",
            about="Length of outputs, per request.",
            queries=quantiles(
                "pagelet_engine_request_output_tokens", BY_ENGINE, "model_name", "{{model_name}}"
            ),
        ),
        Panel(
            title="Refused and expired",
            about="Refused before any generation, by error code; ended by time, by cause.",
            queries=(
                *rate("pagelet_engine_requests_rejected_total", BY_ENGINE, "reason", "{{reason}}"),
                *rate("pagelet_engine_requests_expired_total", BY_ENGINE, "cause", "{{cause}}"),
            ),
            unit="reqps", may_be_empty=True,
        ),
        Panel(
            title="Silence",
            about="Time since the engine process last said anything; below one step.",
            queries=gauge(
                "pagelet_engine_silence_seconds", BY_ENGINE, "instance", "{{instance}}", "max"
            ),
            unit="s", thresholds=(5, 30),
        ),
    ),
)  # fmt: skip
