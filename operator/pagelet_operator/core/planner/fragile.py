"""What makes a plan break although its means fit: shapes of requests that nobody bounds."""

from collections.abc import Iterator
from dataclasses import dataclass

from pagelet_operator.core.planner.memory import MemoryPlan, gib
from pagelet_operator.core.planner.mix import Mix

_NEAR = 0.8
"""Of the context window: a prompt this long leaves little for an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """`spec.limits` as far as they bound one request; None for no bound."""

    max_prompt_tokens: int | None = None
    max_output_tokens: int | None = None


def fragile(memory: MemoryPlan, caps: Caps, mix: Mix | None) -> Iterator[str]:
    """Yield a sentence for each thing that can break the plan, with what to change."""
    yield from _unbounded(memory, caps)
    yield from _window(memory, caps)
    if mix is not None:
        yield from _lengths(memory, caps, mix)


def _unbounded(memory: MemoryPlan, caps: Caps) -> Iterator[str]:
    missing = [
        name
        for name, cap in (
            ("maxPromptTokens", caps.max_prompt_tokens),
            ("maxOutputTokens", caps.max_output_tokens),
        )
        if cap is None
    ]
    if missing:
        share = min(1.0, memory.max_model_len / memory.kv_tokens)
        yield (
            f"spec.limits has no {' and no '.join(missing)}: one request may take "
            f"{memory.max_model_len} tokens, {share:.0%} of a replica's KV cache; set it"
        )


def _window(memory: MemoryPlan, caps: Caps) -> Iterator[str]:
    longest = min(memory.max_model_len, _longest(caps) or memory.max_model_len)
    wanted = longest * memory.max_num_seqs
    if wanted > memory.kv_tokens:
        yield (
            f"maxNumSeqs {memory.max_num_seqs} sequences of {longest} tokens take "
            f"{gib(wanted * memory.token_bytes)} of KV cache, but there are "
            f"{gib(memory.kv_cache_bytes)}: {memory.fits(longest)} of them fit, others wait or are "
            f"preempted; lower engine.maxModelLen, the caps in limits, or maxNumSeqs"
        )


def _longest(caps: Caps) -> int | None:
    if caps.max_prompt_tokens is None or caps.max_output_tokens is None:
        return None
    return caps.max_prompt_tokens + caps.max_output_tokens


def _lengths(memory: MemoryPlan, caps: Caps, mix: Mix) -> Iterator[str]:
    prompt, output, window = mix.prompts.p99, mix.outputs.p99, memory.max_model_len
    if prompt >= window:
        yield f"a p99 prompt has {prompt:.0f} tokens, but maxModelLen is {window}: it is refused"
    elif prompt > _NEAR * window or prompt + output > window:
        yield (
            f"a p99 prompt ({prompt:.0f} tokens) leaves {window - prompt:.0f} of maxModelLen "
            f"{window} for its answer; p99 answers have {output:.0f}"
        )
    for name, cap, length in (
        ("maxPromptTokens", caps.max_prompt_tokens, prompt),
        ("maxOutputTokens", caps.max_output_tokens, output),
    ):
        if cap is not None and length > cap:
            yield f"limits.{name} is {cap}, below the p99 of {length:.0f} tokens: some are refused"
    held = mix.held_tokens + memory.block_size / 2
    if memory.kv_tokens / held < memory.max_num_seqs:
        yield (
            f"the KV cache is full at {memory.kv_tokens / held:.0f} mean requests, before "
            f"maxNumSeqs {memory.max_num_seqs}: memory limits this replica, not arithmetic"
        )
