"""The result of `pagelet bench` as files: JSON for programs, Markdown and HTML for people."""

import dataclasses
import json
from collections.abc import Mapping
from datetime import datetime

from pagelet_bench.core.errors import UsageError
from pagelet_bench.core.measured import Measured, Ramp
from pagelet_bench.core.pages import html, markdown
from pagelet_bench.core.result import RequestResult
from pagelet_bench.core.workload import Profile
from pagelet_bench.environment import describe
from pagelet_bench.measuring import Run
from pagelet_bench.options import BenchOptions

SCHEMA_VERSION = 1


def write(options: BenchOptions, run: Run, started_at: datetime) -> None:
    """Write the files that are asked for; `-` is left to the caller.

    Raises:
        UsageError: A file cannot be written.
    """
    title = f"{run.endpoint.model} under {options.profile.name}"
    facts = _facts(options, run, started_at)
    about = (title, facts, run.measured, run.ramp)
    try:
        if options.json_path is not None and str(options.json_path) != "-":
            options.json_path.write_text(encoded(options, run, started_at))
        if options.markdown_path is not None:
            options.markdown_path.write_text(markdown(*about), "utf-8")
        if options.html_path is not None:
            options.html_path.write_text(html(*about), "utf-8")
    except OSError as error:
        raise UsageError(f"the result cannot be written: {error}.") from None


def encoded(options: BenchOptions, run: Run, started_at: datetime) -> str:
    """Return the JSON result: what was measured, on what, with which load."""
    found = run.measured
    document = {
        "schema_version": SCHEMA_VERSION,
        "started_at": started_at.isoformat(timespec="seconds"),
        **describe(),
        "endpoint": dataclasses.asdict(run.endpoint),
        "workload": _workload(found.profile)
        | {"vocab_size": options.vocab_size, "timeout_s": options.timeout_s},
        "was_interrupted": found.was_interrupted,
        **_figures(found),
        "ramp": None if run.ramp is None else _ramp(run.ramp),
        "requests": [_row(result) for result in sorted(found.results, key=lambda r: r.index)],
    }
    return json.dumps(document, indent=2) + "\n"


def _figures(found: Measured) -> dict[str, object]:
    good = found.goodput
    return {
        "report": dataclasses.asdict(found.report),
        "goodput": None if good is None else dataclasses.asdict(good) | {"is_met": good.is_met},
        "generator": dataclasses.asdict(found.generator)
        | {"is_doubtful": found.generator.is_doubtful},
    }


def _workload(profile: Profile) -> dict[str, object]:
    """Describe a load; of a trace only its size, since its rows are in its file."""
    return dataclasses.asdict(profile) | {"trace": len(profile.trace)}


def _ramp(ramp: Ramp) -> dict[str, object]:
    found = None if ramp.found is None else dataclasses.asdict(ramp.found)
    trials = [
        {"rate_per_s": trial.profile.rate_per_s, "seed": trial.profile.seed, **_figures(trial)}
        for trial in ramp.trials
    ]
    return {"found": found, "trials": trials}


def _row(result: RequestResult) -> dict[str, object]:
    return {
        "index": result.index,
        "turn": result.turn,
        "outcome": result.outcome.value,
        "detail": result.detail,
        "late_s": result.late_s,
        "prompt_tokens": result.prompt_tokens,
        "output_tokens": result.output_tokens,
        "ttft_s": result.ttft_s,
        "e2e_s": result.e2e_s,
    }


def _facts(options: BenchOptions, run: Run, started_at: datetime) -> Mapping[str, str]:
    surroundings = describe()
    hardware = surroundings["hardware"]
    assert isinstance(hardware, dict), "describe() says so"
    profile = run.measured.profile
    loop = (
        f"{profile.concurrency} at once"
        if profile.concurrency is not None
        else f"{profile.rate_per_s:g} a second, burstiness {profile.burstiness:g}"
        if profile.rate_per_s is not None
        else "as recorded"
    )
    turns = f", conversations of {profile.turns} turns" if profile.turns > 1 else ""
    return {
        "endpoint": f"{run.endpoint.base_url}{run.endpoint.dialect.path}",
        "model": run.endpoint.model,
        "load": f"{profile.name}: {profile.requests} requests, {loop}{turns}, seed {profile.seed}",
        "started at": started_at.isoformat(timespec="seconds"),
        "generator's machine": f"{hardware['cpu']}, {hardware['cores']} cores",
        "commit": str(surroundings["commit"] or "unknown"),
        "command": str(surroundings["command"]),
    }
