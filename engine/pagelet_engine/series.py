"""Every series the engine exports, with its meaning: the one place names are written.

Five have the well-known names of the model server protocol, so that existing routers and
dashboards can read this engine; all others begin with `pagelet_engine_`. `metrics` fills them.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Series:
    """One exported series."""

    name: str
    kind: str
    """gauge, counter or histogram."""
    help: str
    labels: tuple[str, ...] = ()
    """Beside `model_name`, which every series has."""


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
TEMPLATE_RESTARTS = Series(
    "pagelet_engine_template_worker_restarts_total",
    "counter",
    "Times the process that renders chat templates was started in place of a dead one.",
)
PROMPT_TIME = Series(
    "pagelet_engine_prompt_encoding_seconds",
    "histogram",
    "Time to make token ids of a request's messages or of one prompt, waits included.",
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
# Not `pagelet_engine_prompt_tokens`: to OpenMetrics that is the counter's family.
REQUEST_PROMPT_TOKENS = Series(
    "pagelet_engine_request_prompt_tokens",
    "histogram",
    "Prompt tokens of a request that ended by itself; several choices share one prompt.",
)
REQUEST_OUTPUT_TOKENS = Series(
    "pagelet_engine_request_output_tokens",
    "histogram",
    "Tokens generated for one choice, of sequences that ended by themselves.",
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
    *(TEMPLATE_RESTARTS, PROMPT_TIME),
    *(STEP_DURATION, QUEUE_TIME, TTFT, ITL, E2E, REQUESTS, REJECTED),
    *(REQUEST_PROMPT_TOKENS, REQUEST_OUTPUT_TOKENS),
)
"""What /metrics shows; the reference page is generated from it."""
