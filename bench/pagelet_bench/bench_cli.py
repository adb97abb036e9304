"""The `bench` command of `pagelet`. Importing it imports no HTTP client."""

from pathlib import Path
from typing import Annotated, Literal

import typer

URL = Annotated[str, typer.Argument(help="Endpoint, such as http://127.0.0.1:8000.")]
MODEL = Annotated[
    str | None, typer.Option(help="Model to ask for; default: the only one that is served.")
]
API = Annotated[
    Literal["completions", "chat"], typer.Option(help="Which of OpenAI's two APIs to load.")
]
KEY = Annotated[
    str | None,
    typer.Option(envvar="PAGELET_API_KEY", show_envvar=True, help="Sent as bearer token."),
]
KEY_FILE = Annotated[Path | None, typer.Option(help="File with the key in its first line.")]

_LOAD = "Load"
PROFILE = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=_LOAD,
        help="Workload: mixed48 (default), single, chat, documents, agent or writing.",
    ),
]
TRACE = Annotated[
    Path | None,
    typer.Option(rich_help_panel=_LOAD, help="CSV file with recorded lengths, and times or not."),
]
LENGTHS_FROM = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=_LOAD, help="Address of live /metrics: lengths as its histograms say."
    ),
]
REQUESTS = Annotated[
    int | None,
    typer.Option(rich_help_panel=_LOAD, help="Number of requests, instead of the profile's."),
]
DURATION = Annotated[
    float | None,
    typer.Option(rich_help_panel=_LOAD, help="Seconds of arrivals, instead of a number (open)."),
]
CONCURRENCY = Annotated[
    int | None, typer.Option(rich_help_panel=_LOAD, help="Conversations at once (closed loop).")
]
RATE = Annotated[
    float | None,
    typer.Option(rich_help_panel=_LOAD, help="Conversations begun per second (open loop)."),
]
BURSTINESS = Annotated[
    float | None,
    typer.Option(
        rich_help_panel=_LOAD,
        help="Gamma shape of gaps: 1 Poisson, below 1 bursts, inf evenly spaced (open loop).",
    ),
]
TURNS = Annotated[
    int | None,
    typer.Option(rich_help_panel=_LOAD, help="Requests of one conversation, each repeats it."),
]
THINK = Annotated[
    float | None,
    typer.Option(rich_help_panel=_LOAD, help="Seconds between an answer and the next turn."),
]
PREFIX = Annotated[
    int | None,
    typer.Option(rich_help_panel=_LOAD, help="Tokens that conversations begin with alike."),
]
GROUPS = Annotated[
    int | None,
    typer.Option(rich_help_panel=_LOAD, help="How many such beginnings there are."),
]
SEED = Annotated[
    int | None, typer.Option(rich_help_panel=_LOAD, help="Seed of lengths, ids and arrivals.")
]
VOCAB_SIZE = Annotated[
    int,
    typer.Option(
        rich_help_panel=_LOAD,
        help="Prompts are random ids below this; at most the model's vocabulary.",
    ),
]
TIMEOUT = Annotated[float, typer.Option(min=0.001, help="Longest wait for one request, seconds.")]

_SLO = "Goodput"
SLO_TTFT = Annotated[
    float | None, typer.Option(rich_help_panel=_SLO, help="Longest good TTFT, seconds.")
]
SLO_ITL = Annotated[
    float | None,
    typer.Option(rich_help_panel=_SLO, help="Longest good p95 ITL of one request, seconds."),
]
SLO_E2E = Annotated[
    float | None, typer.Option(rich_help_panel=_SLO, help="Longest good answer, seconds.")
]
SLO_SHARE = Annotated[
    float, typer.Option(rich_help_panel=_SLO, help="Least share of requests that must be good.")
]
RAMP = Annotated[
    bool,
    typer.Option("--ramp", rich_help_panel=_SLO, help="Find the rate at which the SLO breaks."),
]
MAX_RATE = Annotated[
    float, typer.Option(rich_help_panel=_SLO, help="Ramp: highest rate to try, per second.")
]
RAMP_REPEATS = Annotated[
    int, typer.Option(rich_help_panel=_SLO, help="Ramp: trials of one rate at most, odd.")
]
RAMP_PRECISION = Annotated[
    float, typer.Option(rich_help_panel=_SLO, help="Ramp: width of the answer, share of the rate.")
]
TRIAL_SECONDS = Annotated[
    float, typer.Option(rich_help_panel=_SLO, help="Ramp: seconds of arrivals in one trial.")
]

_RESULT = "Result"
JSON = Annotated[
    Path | None,
    typer.Option(
        "--json",
        rich_help_panel=_RESULT,
        help="Write the result with hardware and versions here; - is stdout, without the table.",
    ),
]
MARKDOWN = Annotated[
    Path | None, typer.Option(rich_help_panel=_RESULT, help="Write a Markdown page here.")
]
HTML = Annotated[
    Path | None,
    typer.Option(rich_help_panel=_RESULT, help="Write a page with charts here, self-contained."),
]

EPILOG = (
    "Exit codes: 0 all requests succeeded and the SLO, if there is one, was kept; 1 some failed; 2 "
    "bad usage or the endpoint cannot be measured; 3 the SLO was missed, of a ramp at every rate; "
    "130 interrupted, after printing what had finished."
)


def bench(
    url: URL,
    model: MODEL = None,
    api: API = "completions",
    api_key: KEY = None,
    api_key_file: KEY_FILE = None,
    profile: PROFILE = None,
    trace: TRACE = None,
    lengths_from: LENGTHS_FROM = None,
    requests: REQUESTS = None,
    duration: DURATION = None,
    concurrency: CONCURRENCY = None,
    rate: RATE = None,
    burstiness: BURSTINESS = None,
    turns: TURNS = None,
    think_seconds: THINK = None,
    prefix_tokens: PREFIX = None,
    prefix_groups: GROUPS = None,
    seed: SEED = None,
    vocab_size: VOCAB_SIZE = 32000,
    timeout: TIMEOUT = 600.0,
    slo_ttft: SLO_TTFT = None,
    slo_itl: SLO_ITL = None,
    slo_e2e: SLO_E2E = None,
    slo_share: SLO_SHARE = 0.99,
    ramp: RAMP = False,
    max_rate: MAX_RATE = 10_000.0,
    ramp_repeats: RAMP_REPEATS = 3,
    ramp_precision: RAMP_PRECISION = 0.1,
    trial_seconds: TRIAL_SECONDS = 30.0,
    json_path: JSON = None,
    markdown: MARKDOWN = None,
    html: HTML = None,
) -> None:
    """Load an OpenAI-compatible endpoint with mixed-length requests and print what users feel."""
    given = locals()
    from pagelet_bench.arguments import Arguments
    from pagelet_bench.command import EXIT_USAGE
    from pagelet_bench.command import bench as run
    from pagelet_bench.core.errors import BenchError

    try:
        options = Arguments(**given).options()
    except BenchError as error:
        typer.echo(f"pagelet bench: {error}", err=True)
        raise typer.Exit(EXIT_USAGE) from None
    raise typer.Exit(run(options))
