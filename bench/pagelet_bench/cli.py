"""The commands `bench`, `check` and `gate` of `pagelet`. Importing it imports no HTTP client."""

from pathlib import Path
from typing import Annotated

import typer

from pagelet_bench.bench_cli import EPILOG, MODEL, URL, bench

AGAINST = Annotated[
    str | None, typer.Option(help="A second endpoint to ask the same; the table shows both.")
]
ONLY = Annotated[
    list[str] | None, typer.Option(help="Group of probes, or one probe's id; repeatable.")
]
KEY = Annotated[
    str | None,
    typer.Option(envvar="PAGELET_API_KEY", show_envvar=True, help="Key of the endpoint."),
]
KEY_FILE = Annotated[Path | None, typer.Option(help="File with the key in its first line.")]
AGAINST_KEY = Annotated[
    str | None,
    typer.Option(
        envvar="PAGELET_AGAINST_API_KEY", show_envvar=True, help="Key of the second endpoint."
    ),
]
PER_REQUEST = Annotated[float, typer.Option(min=0.1, help="Longest wait for one answer, seconds.")]
LIMIT = Annotated[
    float, typer.Option(min=1, help="Seconds for one endpoint; what is left is not tested.")
]
MARKDOWN = Annotated[Path | None, typer.Option(help="Write the table as a page here.")]
CHECK_JSON = Annotated[
    Path | None, typer.Option("--json", help="Write verdicts and the exchanges behind them here.")
]

_CHECK_EPILOG = (
    "Exit codes: 0 everything required is honoured and nothing else is ignored or broken, 1 "
    "something fails (marked !) at either endpoint, 2 bad usage or an endpoint cannot be reached, "
    "130 interrupted."
)


_GATE_EPILOG = (
    "Exit codes: 0 measured, whatever was measured; 2 nothing could be measured. The operator runs "
    "it before a canary gets users' requests, and judges what it says."
)


def register(app: typer.Typer) -> None:
    """Add `pagelet bench`, `pagelet check` and `pagelet gate`."""
    app.command("bench", epilog=EPILOG)(bench)
    app.command("check", epilog=_CHECK_EPILOG)(check)
    app.command("gate", epilog=_GATE_EPILOG)(gate)


def check(
    url: URL,
    against: AGAINST = None,
    model: MODEL = None,
    against_model: MODEL = None,
    api_key: KEY = None,
    api_key_file: KEY_FILE = None,
    against_api_key: AGAINST_KEY = None,
    against_api_key_file: KEY_FILE = None,
    only: ONLY = None,
    timeout: PER_REQUEST = 30.0,
    limit: LIMIT = 900.0,
    json_path: CHECK_JSON = None,
    markdown: MARKDOWN = None,
) -> None:
    """Ask an OpenAI-compatible endpoint, parameter by parameter, what it really does."""
    from pagelet_bench.check.command import CheckOptions, EndpointOptions
    from pagelet_bench.check.command import check as run

    key = None if api_key_file is not None else api_key
    endpoints = [EndpointOptions(url=url, model=model, api_key=key, api_key_file=api_key_file)]
    if against is not None:
        other_key = None if against_api_key_file is not None else against_api_key
        other = EndpointOptions(
            url=against,
            model=against_model,
            api_key=other_key,
            api_key_file=against_api_key_file,
        )
        endpoints.append(other)
    options = CheckOptions(
        endpoints=endpoints,
        only=only or (),
        timeout_s=timeout,
        limit_s=limit,
        json_path=json_path,
        markdown_path=markdown,
    )
    raise typer.Exit(run(options))


def gate(
    kind: Annotated[str, typer.Argument(help="warmup, parity or loadTest.")],
    url: URL,
    against: Annotated[str | None, typer.Option(help="Endpoint that parity compares with.")] = None,
    model: MODEL = None,
    settings: Annotated[str, typer.Option(help="The gate's settings, a JSON object.")] = "{}",
    key_file: Annotated[
        Path | None, typer.Option(help="File with the key that engines know gateways by.")
    ] = None,
    summary: Annotated[
        Path | None, typer.Option(help="Where the figures go. Default: stdout.")
    ] = None,
    timeout: PER_REQUEST = 120.0,
) -> None:
    """Try one revision before users do, and write what was measured as a small JSON document."""
    from pagelet_bench.gates.command import GateOptions
    from pagelet_bench.gates.command import gate as run

    options = GateOptions(
        kind=kind,
        url=url,
        against=against,
        model=model,
        settings=settings,
        key_file=key_file,
        summary=summary,
        timeout_s=timeout,
    )
    raise typer.Exit(run(options))
