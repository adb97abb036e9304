"""The `pagelet` command: finds the sub-command's home and hands over.

Each package brings its commands in its own `cli.py`, which imports what is heavy only once
the command runs, so `pagelet --help` answers at once and an image without torch still works.
"""

import typer

app = typer.Typer(
    name="pagelet",
    help="Serve open-weight language models, on one machine or on Kubernetes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)


def main() -> None:
    """Run the command line."""
    app()
