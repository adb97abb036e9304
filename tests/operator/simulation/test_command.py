"""`pagelet simulate` on the command line."""

import json

import typer
from typer.testing import CliRunner

from pagelet_operator import cli

NAMES = ["pagelet", "fixed", "hpa-queue", "hpa-busy", "keda", "kubeai", "panic", "ray-ttft"]


def run(*arguments):
    app = typer.Typer()
    cli.register(app)
    return CliRunner().invoke(app, ["simulate", *arguments])


def test_every_policy_is_reported():
    result = run("--hours=0.1", "--peak=2", "--max-replicas=2", "--json")
    assert result.exit_code == 0
    assert [item["policy"] for item in json.loads(result.stdout)] == NAMES
    table = run("--hours=0.1", "--peak=2", "--max-replicas=2").stdout
    assert all(name in table for name in NAMES)


def test_a_trace_that_is_none_is_named_with_what_is_accepted():
    result = run("--trace=nowhere.csv")
    assert result.exit_code == 2
    assert "none of diurnal, bursty, flash" in result.output
