"""What the API process and the engine process say to each other.

Length-prefixed msgpack frames over one UNIX socket pair: a 4-byte big-endian length, then a
`Command` (API to engine) or an `Event` (engine to API). Tagged structs, decoded with their
types; nothing is ever unpickled. Ids are made by the API process, never by a client.
"""

import msgspec

from pagelet_engine.core.finish import ErrorKind, FinishReason
from pagelet_engine.core.logprobs import TokenLogprobs
from pagelet_engine.core.sampling_params import SamplingParams

MAX_FRAME_BYTES = 64 * 1024 * 1024


class Submit(msgspec.Struct, frozen=True, tag="submit"):
    """Generate one sequence. The prompt has been checked against `Ready`'s limits."""

    seq_id: int
    prompt_token_ids: list[int]
    sampling: SamplingParams
    cache_salt: bytes = b""
    """Only sequences with equal salts share cached blocks: an HMAC of the tenant, made by the API
    process with a key that no client knows."""
    tenant: str = ""
    """Whose turn it counts as when tenants wait for each other."""
    weight: float = 1.0
    """The tenant's share of the tokens served while others wait, relative to theirs; > 0."""
    priority: int = 0
    """Higher goes first among sequences of the same tenant."""
    deadline_s: float | None = None
    """Seconds left on arrival; then the sequence ends with an error, wherever it is."""
    constraint: str | None = None
    """Path of the socket on which this sequence's matcher process waits (`constraints`)."""


class Abort(msgspec.Struct, frozen=True, tag="abort"):
    """Forget a sequence and free its blocks; unknown ids are ignored."""

    seq_id: int


class Hold(msgspec.Struct, frozen=True, tag="hold"):
    """Produce nothing more of a sequence while its reader does not keep up, or go on with it.

    Unknown ids are ignored. An output or two may still be under way.
    """

    seq_id: int
    is_held: bool


Command = Submit | Abort | Hold


class Stage(msgspec.Struct, frozen=True, tag="stage"):
    """Start-up progress, for /startupz and the log."""

    name: str


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The engine accepts sequences; the limits the edge must check against."""

    vocab_size: int
    max_model_len: int
    num_blocks: int
    block_size: int
    dtype: str
    device: str
    kv_cache_bytes: int
    weights_bytes: int
    load_seconds: float
    eos_token_ids: list[int] = []
    """What ends a sequence by itself."""


class Fatal(msgspec.Struct, frozen=True, tag="fatal"):
    """The engine process ends. `config` tells whether the configuration is to blame (exit 2)."""

    message: str
    config: bool


class TokenOutput(msgspec.Struct, frozen=True, array_like=True):
    """New tokens of one sequence after a step; `finish_reason` set on the last one.

    The token that ends a sequence (end-of-sequence or stop token) is among `token_ids`: it counts
    as output, and the API process keeps it out of the text. An aborted sequence gets no output.
    """

    seq_id: int
    token_ids: list[int]
    finish_reason: FinishReason | None = None
    error: str | None = None
    """For FinishReason.ERROR: the sentence the client gets."""
    error_kind: ErrorKind | None = None
    """For FinishReason.ERROR: who can mend it."""
    retry_after_s: float | None = None
    """For ErrorKind.OVERLOADED: when another try may succeed."""
    num_cached_tokens: int = 0
    """Prompt tokens whose K/V came from the prefix cache; the same in every output."""
    logprobs: list[TokenLogprobs] = []
    """One per token, if the sequence asked for them."""
    prompt_logprobs: list[TokenLogprobs] = []
    """If asked for: those of the next prompt tokens, the first of which has none. They come, in
    order and in outputs without tokens, before the first token does."""
    queue_s: float | None = None
    """In the first output with a token: how long the sequence waited for its first step."""


class EngineStats(msgspec.Struct, frozen=True, array_like=True):
    """The engine's counters and gauges after a step; counters never fall."""

    num_waiting: int = 0
    num_running: int = 0
    num_blocks_used: int = 0
    num_blocks_total: int = 0
    kv_slots_used: int = 0
    """Token slots that hold K/V; against num_blocks_used * block_size this is fragmentation."""
    num_steps: int = 0
    num_preemptions: int = 0
    num_recomputed_tokens: int = 0
    num_prompt_tokens: int = 0
    """Prompt tokens computed (recomputation counted apart)."""
    num_output_tokens: int = 0
    last_step_seconds: float = 0.0
    last_step_tokens: int = 0
    num_prefix_query_tokens: int = 0
    """Prompt tokens of admitted sequences, each a chance for the prefix cache."""
    num_prefix_hit_tokens: int = 0
    """Prompt tokens whose K/V was found in the prefix cache."""
    num_expired: int = 0
    """Sequences ended by a deadline or a queue time-out."""
    num_queue_timeouts: int = 0
    """Those of them that waited too long for their first step."""
    last_mask_seconds: float = 0.0
    """What the last step waited for the masks of constrained sequences; part of its time."""
    num_late_masks: int = 0
    """Sequences ended because no mask came in time."""


class Stepped(msgspec.Struct, frozen=True, tag="stepped"):
    """The result of one engine step (or, while idle, a heartbeat with no outputs)."""

    outputs: list[TokenOutput]
    stats: EngineStats


Event = Stage | Ready | Fatal | Stepped
