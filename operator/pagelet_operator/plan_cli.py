"""The command `plan`. Imports what is heavy only once it runs."""

from pathlib import Path
from typing import Annotated

import typer

from pagelet_operator.local.commands import Files

_LENGTHS = "p50,p95,p99 in tokens, such as 200,900,2000."


def plan(
    files: Files,
    gpu: Annotated[
        str | None,
        typer.Option(
            help="What a replica runs on: a10g, a100-40gb, a100-80gb, b200, h100-nvl, h100-pcie, "
            "h100-sxm, h200-sxm, l4, l40s, rtx-4090, or cpu."
        ),
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="Free memory of that device, such as 24Gi.")
    ] = None,
    measured: Annotated[
        Path | None,
        typer.Option(help="Result of `pagelet bench --concurrency 1 --json`: takes its speed."),
    ] = None,
    prompt_tokens: Annotated[str | None, typer.Option(help=f"Prompts: {_LENGTHS}")] = None,
    output_tokens: Annotated[str | None, typer.Option(help=f"Outputs: {_LENGTHS}")] = None,
    trace: Annotated[
        Path | None, typer.Option(help="Recorded requests in CSV, in place of these two.")
    ] = None,
    lengths_from: Annotated[
        str | None, typer.Option(help="/metrics of a gateway or engine, in place of these two.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="Requests per second. Default: a trace's busiest minute."),
    ] = None,
    headroom: Annotated[
        float, typer.Option(help="Share of a replica's capacity that stays free.")
    ] = 0.3,
    price: Annotated[
        str | None, typer.Option(help="Of one GPU or CPU replica for an hour, such as '2.50 EUR'.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="The model's config.json or .gguf file, if not at hand.")
    ] = None,
    layers: Annotated[int | None, typer.Option(help="Or by numbers: layers,")] = None,
    kv_heads: Annotated[int | None, typer.Option(help="heads of K and V,")] = None,
    head_size: Annotated[int | None, typer.Option(help="their size,")] = None,
    params: Annotated[int | None, typer.Option(help="all parameters,")] = None,
    context_window: Annotated[int | None, typer.Option(help="and tokens of context.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Check FILE... and print what applying them does: revisions, replicas, steps with times.

    With --gpu, or --measured, also how much memory a replica needs, how many requests fit, what
    latency and rate to expect, how many replicas and GPUs a rate takes, and what they cost.

    Exit codes: 0 if all can work as written, 2 if not (the sentence on stderr names the field).
    """
    from pagelet_operator.api.resource import InvalidResourceError
    from pagelet_operator.core.planner.errors import PlanError
    from pagelet_operator.planner.answer import Options
    from pagelet_operator.planner.model_files import ShapeFlags
    from pagelet_operator.planner.report import report

    options = Options(
        gpu=gpu,
        memory=memory,
        measured=measured,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        trace=trace,
        lengths_from=lengths_from,
        rate_per_s=rate,
        headroom=headroom,
        price=price,
        shape=ShapeFlags(
            config=config,
            layers=layers,
            kv_heads=kv_heads,
            head_size=head_size,
            params=params,
            context_window=context_window,
        ),
    )
    try:
        shown = report(files, options, as_json=json)
    except (InvalidResourceError, PlanError) as error:
        typer.echo(f"pagelet plan: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(shown)
