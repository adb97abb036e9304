"""The `pagelet` command: finds the sub-command's home and hands over.

Each package brings its commands in its own `cli.py`, which imports what is heavy only once
the command runs, so `pagelet --help` answers at once and an image without torch still works.
"""

from importlib import import_module
from importlib.util import find_spec

import typer

PACKAGES = ("pagelet_operator", "pagelet_engine", "pagelet_gateway", "pagelet_bench")


def build() -> typer.Typer:
    """Return the command line with the commands of every package."""
    app = typer.Typer(
        name="pagelet",
        help="Serve open-weight language models, on one machine or on Kubernetes.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    for package in PACKAGES:
        if find_spec(f"{package}.cli"):
            import_module(f"{package}.cli").register(app)
    return app


def main() -> None:
    """Run the command line."""
    build()()
