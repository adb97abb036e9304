"""The operator's commands. Imports what is heavy only once one of them runs."""

import typer

from pagelet_operator import plan_cli, rollout_cli
from pagelet_operator.kube import command as kube
from pagelet_operator.local import commands as local
from pagelet_operator.simulation import command as simulation


def register(app: typer.Typer) -> None:
    """Add the operator's commands to the command line."""
    app.command("up")(local.up)
    app.command("plan")(plan_cli.plan)
    app.add_typer(rollout_cli.app, name="rollout")
    app.command("simulate")(simulation.simulate_command)
    app.command("operator")(kube.operator)
    app.command("crd")(kube.crd)
