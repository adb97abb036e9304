"""`pagelet simulate`: a trace against scaling policies, as a table or JSON."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pagelet_operator.core.scaling import ScalingPolicy, Targets
from pagelet_operator.simulation import traces
from pagelet_operator.simulation.engine import Hardware, Request
from pagelet_operator.simulation.fleet import Result, Slo, simulate
from pagelet_operator.simulation.policies import (
    Fixed,
    Hpa,
    MovingAverage,
    Pagelet,
    Panic,
    Policy,
    RayTtft,
)

EXIT_INPUT = 2

BUSY_SHARE = 0.7
"""Of a replica's places: what rivals that count requests in flight aim at, so that all policies
know as much of the hardware as its user does."""


def simulate_command(
    trace: Annotated[
        str, typer.Option(help="diurnal, bursty, flash, or a CSV file (Azure's or BurstGPT's).")
    ] = "diurnal",
    hours: Annotated[float, typer.Option(min=0.1, help="Length of a made trace.")] = 3.0,
    peak: Annotated[float, typer.Option(min=0.1, help="Its peak, requests per second.")] = 14.0,
    max_replicas: Annotated[int, typer.Option(min=1, help="Replicas there is room for.")] = 8,
    places: Annotated[int, typer.Option(min=1, help="Sequences a replica computes at once.")] = 16,
    cold_start: Annotated[float, typer.Option(min=0.0, help="Seconds until ready.")] = 120.0,
    slo_ttft: Annotated[float, typer.Option(min=0.001, help="Seconds to the first token.")] = 2.0,
    slo_itl: Annotated[float, typer.Option(min=0.001, help="Mean seconds between tokens.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Of a made trace.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Results as JSON.")] = False,
) -> None:
    """Replay a trace of requests against scaling policies, ours and others'."""
    try:
        requests = _requests(trace, seed, hours, peak)
        hardware = Hardware(places=places, cold_start_s=cold_start)
        slo = Slo(ttft_s=slo_ttft, itl_s=slo_itl)
        results = [
            simulate(requests, policy, hardware=hardware, slo=slo, limit=max_replicas)
            for policy in policies(max_replicas, places, slo)
        ]
    except (traces.TraceError, ValueError) as error:
        typer.echo(f"pagelet simulate: {error}", err=True)
        raise typer.Exit(EXIT_INPUT) from None
    if as_json:
        typer.echo(json.dumps([asdict(item) for item in results], indent=2))
    else:
        Console().print(_table(results))


def policies(limit: int, places: int, slo: Slo) -> list[Policy]:
    """Return all policies for a fleet of at most `limit` replicas."""
    targets = Targets(ttft_p99_s=slo.ttft_s, itl_p99_s=slo.itl_s)
    return [
        Pagelet(ScalingPolicy(min_replicas=1, max_replicas=limit, places=places, targets=targets)),
        Fixed(limit),
        Hpa("hpa-queue", 5.0),
        Hpa("hpa-busy", BUSY_SHARE, busy=True),
        Hpa("keda", 10.0, every_s=30.0),
        MovingAverage(BUSY_SHARE * places),
        Panic(BUSY_SHARE * places),
        RayTtft(slo.ttft_s),
    ]


def _requests(trace: str, seed: int, hours: float, peak: float) -> list[Request]:
    if trace in traces.MADE:
        return traces.MADE[trace](seed, hours, peak)
    path = Path(trace)
    if not path.exists():
        made = ", ".join(traces.MADE)
        raise traces.TraceError(f"--trace: {trace!r} is no file and none of {made}")
    return traces.read(path)


def _table(results: list[Result]) -> Table:
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("POLICY", "IN SLO", "REPLICA-HOURS", "MEAN", "PEAK", "TURNS", "P99 TTFT"):
        drawn.add_column(heading, justify="left" if heading == "POLICY" else "right")
    for item in results:
        drawn.add_row(
            item.policy,
            f"{100 * item.in_slo:.2f} %",
            f"{item.replica_hours:.2f}",
            f"{item.mean_replicas:.2f}",
            str(item.peak_replicas),
            str(item.direction_changes),
            f"{item.ttft_p99_s:.2f} s",
        )
    return drawn
