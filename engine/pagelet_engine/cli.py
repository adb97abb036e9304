"""`pagelet serve`: one model behind an OpenAI-compatible API.

Flags become `EngineConfig` and `ServerConfig`, where they are checked; the server itself is
imported only once the command runs.
"""

import re
from typing import Annotated

import typer

from pagelet_engine.config import EngineConfig, ServerConfig
from pagelet_engine.errors import ConfigError

_EXIT_CONFIG = 2
_ENGINE, _LISTEN = EngineConfig(model=""), ServerConfig()  # defaults are written there, once
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_BYTES = re.compile(r"(\d+)(K|M|G|Ki|Mi|Gi)?\Z")


def register(app: typer.Typer) -> None:
    """Add `serve` to `app`."""
    app.command("serve")(serve)


def serve(
    model: Annotated[
        str,
        typer.Argument(
            help="package://PACKAGE/FILE.gguf, file:///PATH, hf://ORG/REPO, dummy://NAME, or a path"
        ),
    ],
    served_model_name: Annotated[
        str | None, typer.Option(help="What clients call the model.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = _LISTEN.host,
    port: Annotated[int, typer.Option(help="TCP port; 0 takes a free one.")] = _LISTEN.port,
    revision: Annotated[str | None, typer.Option(help="Commit or tag of a hub model.")] = None,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16.")] = _ENGINE.dtype,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = _ENGINE.device,
    max_model_len: Annotated[
        int | None, typer.Option(help="Most tokens of prompt plus output.")
    ] = None,
    block_size: Annotated[int, typer.Option(help="Tokens per KV block.")] = _ENGINE.block_size,
    max_num_seqs: Annotated[
        int, typer.Option(help="Most sequences in one step.")
    ] = _ENGINE.max_num_seqs,
    max_num_batched_tokens: Annotated[
        int | None, typer.Option(help="Most tokens in one step.")
    ] = None,
    kv_cache_memory: Annotated[
        str | None, typer.Option(help="Memory of the KV cache, such as 512Mi.")
    ] = None,
    gpu_memory_fraction: Annotated[
        float, typer.Option(help="Share of GPU memory to use.")
    ] = _ENGINE.gpu_memory_fraction,
    prefix_caching: Annotated[
        bool, typer.Option(help="Reuse the K/V of prompts that begin alike.")
    ] = _ENGINE.prefix_caching,
    target_itl_ms: Annotated[
        float | None, typer.Option(help="Longest step while others decode, p99; sizes chunks.")
    ] = None,
    max_queued_requests: Annotated[
        int, typer.Option(help="Most sequences that may wait for their first step.")
    ] = _ENGINE.max_queued_requests,
    max_concurrent_requests: Annotated[
        int | None, typer.Option(help="Most sequences waiting and running.")
    ] = None,
    max_queued_tokens: Annotated[
        int | None, typer.Option(help="Most uncached prompt tokens that may wait.")
    ] = None,
    queue_timeout: Annotated[
        float | None, typer.Option(help="Longest wait for the first step, seconds.")
    ] = None,
    num_threads: Annotated[int | None, typer.Option(help="Threads for CPU arithmetic.")] = None,
    seed: Annotated[int, typer.Option(help="Seed for requests that bring none.")] = _ENGINE.seed,
    metrics_port: Annotated[
        int | None, typer.Option(help="TCP port for /metrics alone; default: beside the API.")
    ] = None,
    api_keys_file: Annotated[
        str | None, typer.Option(help="Who may call: JSON, or one key a line; reloads on change.")
    ] = None,
    gateway_key_file: Annotated[
        str | None, typer.Option(help="Key shared with the gateway, whose headers are believed.")
    ] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Ask nobody for a key, though --host is public.")
    ] = _LISTEN.no_auth,
    keep_alive: Annotated[
        float, typer.Option(help="Silence after which a stream sends a comment, seconds.")
    ] = _LISTEN.keep_alive_s,
    slow_reader_timeout: Annotated[
        float, typer.Option(help="Longest time for a client to empty a full buffer, seconds.")
    ] = _LISTEN.slow_reader_s,
    watchdog: Annotated[
        float, typer.Option(help="Longest silence of the engine process, seconds.")
    ] = _LISTEN.watchdog_s,
    reasoning_parser: Annotated[
        str, typer.Option(help="How thoughts are found: auto, none, qwen3 or deepseek_r1.")
    ] = _LISTEN.reasoning_parser,
    on_engine_death: Annotated[
        str, typer.Option(help="exit, or restart the engine process.")
    ] = _LISTEN.on_engine_death,
    drain_timeout: Annotated[
        float, typer.Option(help="Longest wait for open streams after SIGTERM, seconds.")
    ] = _LISTEN.drain_timeout_s,
) -> None:
    """Serve MODEL over an OpenAI-compatible API.

    Exit codes: 0 stopped and drained; 1 the engine failed or streams were cut; 2 the
    configuration is wrong.
    """
    try:
        config = EngineConfig(
            model=model,
            served_model_name=served_model_name,
            revision=revision,
            dtype=dtype,
            device=device,
            max_model_len=max_model_len,
            block_size=block_size,
            max_num_seqs=max_num_seqs,
            max_num_batched_tokens=max_num_batched_tokens,
            kv_cache_bytes=parse_bytes(kv_cache_memory) if kv_cache_memory else None,
            gpu_memory_fraction=gpu_memory_fraction,
            prefix_caching=prefix_caching,
            target_itl_ms=target_itl_ms,
            max_queued_requests=max_queued_requests,
            max_concurrent_requests=max_concurrent_requests,
            max_queued_tokens=max_queued_tokens,
            queue_timeout_s=queue_timeout,
            num_threads=num_threads,
            seed=seed,
        )
        listen = ServerConfig(
            host=host,
            port=port,
            drain_timeout_s=drain_timeout,
            metrics_port=metrics_port,
            api_keys_file=api_keys_file,
            gateway_key_file=gateway_key_file,
            no_auth=no_auth,
            keep_alive_s=keep_alive,
            slow_reader_s=slow_reader_timeout,
            watchdog_s=watchdog,
            reasoning_parser=reasoning_parser,
            on_engine_death=on_engine_death,
        )
    except ConfigError as error:
        typer.echo(f"pagelet serve: {error}", err=True)
        raise typer.Exit(_EXIT_CONFIG) from None
    raise typer.Exit(_run(config, listen))


def parse_bytes(text: str) -> int:
    """Return the bytes in `text`, a whole number with an optional unit K, M, G, Ki, Mi or Gi.

    Raises:
        ConfigError: It is something else.
    """
    match = _BYTES.match(text)
    if match is None:
        raise ConfigError(
            f"kv-cache-memory is {text!r}; give bytes, or a number with a unit, such as 512Mi."
        )
    return int(match[1]) * _UNITS[match[2] or ""]


def _run(config: EngineConfig, listen: ServerConfig) -> int:
    # Imported late: `pagelet --help` must not wait for a web framework.
    from pagelet_engine.engine_client import engine_command
    from pagelet_engine.server.run import serve as run

    return run(config, listen, engine_command(config))
