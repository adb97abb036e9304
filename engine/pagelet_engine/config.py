"""How an engine is configured: plain frozen data, checked here, resolved against the model.

Sources, in order: command-line flag, then default. Values that depend on the model or the
machine are None here and become a number in `runner.memory_plan.ResolvedConfig`, another type.
"""

import ipaddress
from dataclasses import dataclass

from pagelet_engine.errors import ConfigError

DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "cuda")
ENGINE_DEATH_POLICIES = ("exit", "restart")
REASONING_PARSERS = ("auto", "none", "qwen3", "deepseek_r1")
BLOCK_SIZES = (8, 16, 32, 64, 128)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """What the user says about one engine."""

    model: str
    """`package://PACKAGE/FILE.gguf`, `file:///PATH`, `pvc://CLAIM/PATH` (mounted), `hf://ORG/REPO`,
    or a plain path to a .gguf file or a folder with config.json and *.safetensors; or
    `dummy://NAME` for random weights of a known shape (benchmarks)."""

    served_model_name: str | None = None
    """The `model` clients send; default: the file's or folder's name."""

    revision: str | None = None
    """Commit or tag of a hub model; None takes the default branch."""

    dtype: str = "auto"
    """Of weights and KV cache; auto is float32 on a CPU, bfloat16 on a GPU."""

    device: str = "auto"
    """auto takes a CUDA device when there is one."""

    max_model_len: int | None = None
    """Most tokens of prompt plus output; None takes the model's context window, or what the KV
    cache holds if that is less."""

    block_size: int = 16
    """Tokens per KV block. Smaller wastes less memory in the last block, larger means shorter
    block tables; 16 wastes under 4 % on mixed lengths."""

    max_num_seqs: int = 64
    """Most sequences in one step; more raises throughput until memory bandwidth is used up."""

    max_num_batched_tokens: int | None = None
    """Most tokens in one step. Higher raises prefill throughput, lower bounds ITL, since a chunk of
    this size is the longest a decoding client waits. None: 512 on a CPU, 2048 on a GPU."""

    kv_cache_bytes: int | None = None
    """Memory of the KV cache, bytes. None: on a GPU what `gpu_memory_fraction` leaves, on a CPU
    room for max_num_seqs sequences of average length, at most a quarter of free memory."""

    gpu_memory_fraction: float = 0.90
    """Share of the GPU's memory for weights, activations and KV cache, in (0, 1)."""

    prefix_caching: bool = True
    """Keep the K/V of full blocks and reuse it for prompts that begin alike. Costs a hash per block
    and no memory: only blocks nobody else needs are kept."""

    target_itl_ms: float | None = None
    """Longest step while sequences decode, at the 99th percentile, milliseconds: prompt chunks are
    sized by it. Lower makes streams smoother and prompts slower. None: chunks are as large as
    max_num_batched_tokens allows."""

    max_queued_requests: int = 1024
    """Most sequences that may wait for their first step; more are refused with 429, since a client
    behind a thousand others has given up before its turn."""

    max_concurrent_requests: int | None = None
    """Most sequences waiting and running; more are refused with 429. None: no limit but those on
    waiting and on max_num_seqs. Lower it below their sum where another engine could take over."""

    max_queued_tokens: int | None = None
    """Most prompt tokens that may wait, those in the prefix cache not counted; more are refused
    with 429. None: no limit but that on requests."""

    queue_timeout_s: float | None = None
    """Longest wait for the first step, seconds; who would wait longer is refused at once, and who
    has is sent away with 429. None: no limit but each request's own deadline."""

    num_threads: int | None = None
    """Threads for CPU arithmetic; None takes the cores this process may use."""

    seed: int = 0
    """Seed for sequences that bring none."""

    def __post_init__(self) -> None:
        """Refuse what can never work.

        Raises:
            ConfigError: A value is out of range; the message names field, value and remedy.
        """
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype is {self.dtype!r}; choose one of {', '.join(DTYPES)}.")
        if self.device not in DEVICES:
            raise ConfigError(f"device is {self.device!r}; choose one of {', '.join(DEVICES)}.")
        if self.block_size not in BLOCK_SIZES:
            known = ", ".join(map(str, BLOCK_SIZES))
            raise ConfigError(f"block_size is {self.block_size}; choose one of {known}.")
        self._check_numbers()
        self._check_batch()

    def _check_numbers(self) -> None:
        sizes = ("max_model_len", "max_num_batched_tokens", "kv_cache_bytes", "num_threads")
        limits = ("max_queued_requests", "max_concurrent_requests", "max_queued_tokens")
        for name in (*sizes, *limits):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1, or left out.")
        for name in ("target_itl_ms", "queue_timeout_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} is {value}; it must be positive, or left out.")
        if not 0.0 < self.gpu_memory_fraction < 1.0:
            raise ConfigError(
                f"gpu_memory_fraction is {self.gpu_memory_fraction}; it must lie between 0 and 1."
            )

    def _check_batch(self) -> None:
        if self.max_num_seqs < 1:
            raise ConfigError(f"max_num_seqs is {self.max_num_seqs}; it must be at least 1.")
        budget = self.max_num_batched_tokens
        if budget is not None and budget < self.max_num_seqs:
            raise ConfigError(
                f"max_num_batched_tokens ({budget}) is below max_num_seqs ({self.max_num_seqs}): a "
                f"full batch could not decode one token each. Raise the first or lower the second."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Where and how the API process listens."""

    host: str = "127.0.0.1"
    """Address to bind; loopback unless told otherwise."""

    port: int = 8000
    """TCP port; 0 lets the system choose (the choice is printed)."""

    drain_timeout_s: float = 300.0
    """Longest wait for streams in flight after SIGTERM."""

    max_body_bytes: int = 8 * 1024 * 1024
    """Largest request body; above it the answer is 413 before any parsing."""

    metrics_port: int | None = None
    """TCP port of /metrics, and then only there; None serves it beside the API."""

    api_keys_file: str | None = None
    """Who may call, read again when it changes; None asks nobody for a key."""

    gateway_key_file: str | None = None
    """The key shared with the gateway; only with it are its x-pagelet-* headers believed."""

    no_auth: bool = False
    """Serve everybody who can connect, though `host` is not loopback: for pods that only their
    gateway can reach."""

    keep_alive_s: float = 15.0
    """Silence after which a stream sends a comment, so that nothing between here and the client
    takes it for dead. Before the first token it also ends the time in which a gateway can retry."""

    slow_reader_s: float = 30.0
    """Longest time for a client to take what fills its buffer; then it is cut off."""

    watchdog_s: float = 60.0
    """An engine process silent for longer is stuck: not ready, and ended a little later. Above the
    longest step, a full prefill batch of a large model on a small CPU."""

    reasoning_parser: str = "auto"
    """How thoughts are told from answers; the names are vLLM's. qwen3 looks for `<think>` at the
    output's beginning, deepseek_r1 takes an output without it for a thought up to `</think>`, none
    leaves all in the answer; auto is qwen3 for models whose template or vocabulary has the tags."""

    on_engine_death: str = "exit"
    """exit leaves the restart to whoever supervises this process, restart does it here, which keeps
    the port and the metrics, up to 5 times in 10 minutes."""

    def __post_init__(self) -> None:
        """Refuse what can never work.

        Raises:
            ConfigError: A value is out of range.
        """
        self._check_ports()
        self._check_keys()
        self._check_times()
        if self.on_engine_death not in ENGINE_DEATH_POLICIES:
            known = " or ".join(ENGINE_DEATH_POLICIES)
            raise ConfigError(f"on_engine_death is {self.on_engine_death!r}; choose {known}.")
        if self.reasoning_parser not in REASONING_PARSERS:
            known = ", ".join(REASONING_PARSERS)
            raise ConfigError(
                f"reasoning_parser is {self.reasoning_parser!r}; choose one of {known}."
            )
        if self.max_body_bytes < 1:
            raise ConfigError("max_body_bytes must be at least 1.")

    def _check_ports(self) -> None:
        for name in ("port", "metrics_port"):
            port = getattr(self, name)
            if port is not None and not 0 <= port <= 65535:
                raise ConfigError(f"{name} is {port}; it must lie between 0 and 65535.")

    def _check_keys(self) -> None:
        has_keys = self.api_keys_file is not None or self.gateway_key_file is not None
        if self.no_auth and has_keys:
            raise ConfigError("no_auth contradicts a key file; leave one of them out.")
        if not (has_keys or self.no_auth or is_loopback(self.host)):
            raise ConfigError(
                f"host is {self.host!r}, which others can reach, and nobody would need a key. Give "
                f"--api-keys-file, or say --no-auth if something in front checks who is calling."
            )

    def _check_times(self) -> None:
        for name in ("keep_alive_s", "slow_reader_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be above 0.")
        if not self.watchdog_s >= 1.0:
            raise ConfigError(
                f"watchdog is {self.watchdog_s} s; it must be at least 1, as an idle engine speaks "
                f"every half second only."
            )
        if not self.drain_timeout_s >= 0:
            raise ConfigError(f"drain_timeout is {self.drain_timeout_s}; it must not be negative.")


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server that listens on `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name may stand for any address
