"""The command `up`. Imports what is heavy only once it runs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pagelet_operator.local.report import Report

Files = Annotated[
    list[Path], typer.Argument(help="YAML files with ModelDeployments.", metavar="FILE")
]


def up(
    files: Files,
    host: Annotated[str, typer.Option(help="Address the gateway binds.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The gateway's TCP port; 0 for a free one.")
    ] = 8080,
    status_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="TCP port, on loopback, of the status page and the gateway's /metrics; 0 for a "
            "free one. Default: the one after --port if that is free, else any.",
        ),
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the route table and logs. Default: one per set of files, under "
            "$XDG_STATE_HOME/pagelet or ~/.local/state/pagelet."
        ),
    ] = None,
    log_dir: Annotated[
        Path | None, typer.Option(help="Folder for logs. Default: `logs` in the state folder.")
    ] = None,
    drain_timeout: Annotated[
        float,
        typer.Option(min=0, help="How long requests in flight may take after Ctrl-C, seconds."),
    ] = 30.0,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per event.")] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="One line per event, on a terminal as well.")
    ] = False,
) -> None:
    """Serve the models of FILE... on this machine, engines and gateway included.

    The files are followed: an edit is applied as on a cluster, a bad one is refused and changes
    nothing. Ctrl-C finishes the requests in flight and ends everything.

    Exit codes: 0 after a drain, 1 if the drain's time was up first, 2 if it cannot start as
    configured (the sentence on stderr says why), 130 on a second signal.
    """
    import asyncio
    import os

    from pagelet_operator.api.resource import InvalidResourceError
    from pagelet_operator.local import up as local
    from pagelet_operator.local.state_dir import StateDirError, default_state_dir, held
    from pagelet_operator.local.supervisor import GatewayFailedError

    try:
        folder = (state_dir or default_state_dir(files, os.environ)).absolute()
        with held(folder):
            config = local.UpConfig(
                files=tuple(files),
                host=host,
                port=port,
                status_port=status_port,
                state_dir=folder,
                log_dir=(log_dir or folder / "logs").absolute(),
                drain_s=drain_timeout,
            )
            code = asyncio.run(local.run(config, lambda: _report(json, plain)))
    except (
        InvalidResourceError,
        StateDirError,
        local.AddressError,
        GatewayFailedError,
    ) as error:
        typer.echo(f"pagelet up: {error}", err=True)
        code = 2
    raise typer.Exit(code)


def _report(as_json: bool, plain: bool) -> "Report":
    from pagelet_operator.local.report import LineReport

    if as_json or plain or not sys.stdout.isatty():
        return LineReport(sys.stdout, as_json=as_json)
    from rich.console import Console

    from pagelet_operator.local.live_report import LiveReport

    return LiveReport(Console())
