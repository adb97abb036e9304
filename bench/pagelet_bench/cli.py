"""The `bench` command of `pagelet`. Importing it imports no HTTP client."""

from pathlib import Path
from typing import Annotated

import typer

URL = Annotated[str, typer.Argument(help="Endpoint, such as http://127.0.0.1:8000.")]
MODEL = Annotated[
    str | None, typer.Option(help="Model to ask for; default: the only one that is served.")
]
PROFILE = Annotated[
    str, typer.Option(help="Workload: mixed48 (48 mixed requests at once) or single (one stream).")
]
REQUESTS = Annotated[int | None, typer.Option(help="Number of requests, instead of the profile's.")]
CONCURRENCY = Annotated[int | None, typer.Option(help="Requests in flight (closed loop).")]
RATE = Annotated[float | None, typer.Option(help="Requests per second, Poisson (open loop).")]
SEED = Annotated[int | None, typer.Option(help="Seed of lengths, ids and arrivals.")]
VOCAB_SIZE = Annotated[
    int, typer.Option(help="Prompts are random ids below this; at most the model's vocabulary.")
]
TIMEOUT = Annotated[float, typer.Option(min=0.001, help="Longest wait for one request, seconds.")]
JSON = Annotated[
    Path | None, typer.Option("--json", help="Write the result with hardware and versions here.")
]


_EPILOG = (
    "PAGELET_API_KEY is sent as bearer token if set. Exit codes: 0 all requests succeeded, 1 some "
    "failed, 2 bad usage or the endpoint cannot be measured, 130 interrupted, after printing what "
    "had finished."
)


def register(app: typer.Typer) -> None:
    """Add `pagelet bench`."""
    app.command("bench", epilog=_EPILOG)(bench)


def bench(
    url: URL,
    model: MODEL = None,
    profile: PROFILE = "mixed48",
    requests: REQUESTS = None,
    concurrency: CONCURRENCY = None,
    rate: RATE = None,
    seed: SEED = None,
    vocab_size: VOCAB_SIZE = 32000,
    timeout: TIMEOUT = 600.0,
    json_path: JSON = None,
) -> None:
    """Load an OpenAI-compatible endpoint with mixed-length requests and print what users feel."""
    import os

    from pagelet_bench.command import EXIT_USAGE, BenchOptions
    from pagelet_bench.command import bench as run
    from pagelet_bench.core.errors import UsageError
    from pagelet_bench.core.profiles import adjusted, named

    try:
        load = adjusted(
            named(profile), requests=requests, concurrency=concurrency, rate_per_s=rate, seed=seed
        )
    except UsageError as error:
        typer.echo(f"pagelet bench: {error}", err=True)
        raise typer.Exit(EXIT_USAGE) from None
    options = BenchOptions(
        url=url,
        model=model,
        profile=load,
        vocab_size=vocab_size,
        timeout_s=timeout,
        api_key=os.environ.get("PAGELET_API_KEY"),
        json_path=json_path,
    )
    raise typer.Exit(run(options))
