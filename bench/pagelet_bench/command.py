"""The body of `pagelet bench`: probe, load, print, save."""

import asyncio
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from pagelet_bench import load
from pagelet_bench.client import Endpoint, new_session
from pagelet_bench.core.errors import BenchError, UsageError
from pagelet_bench.core.report import Report, report
from pagelet_bench.core.result import Outcome, RequestResult
from pagelet_bench.core.table import table
from pagelet_bench.core.workload import Profile, plan
from pagelet_bench.environment import describe
from pagelet_bench.probe import probe

SCHEMA_VERSION = 1

EXIT_OK, EXIT_FAILURES, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """What to load, and with what."""

    url: str
    model: str | None
    profile: Profile
    vocab_size: int
    timeout_s: float
    api_key: str | None = None
    json_path: Path | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One finished or interrupted run."""

    endpoint: Endpoint
    report: Report
    results: Sequence[RequestResult]
    was_interrupted: bool


def bench(options: BenchOptions) -> int:
    """Run the load, print a table on stdout, and return the exit code."""
    started_at = datetime.now(UTC)
    try:
        _check(options)
        run = asyncio.run(measure(options))
    except BenchError as error:
        print(f"pagelet bench: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:  # during the probe: nothing to print yet
        return EXIT_INTERRUPTED
    print(table(run.report))
    if options.json_path is not None:
        document = to_document(options, run, started_at)
        options.json_path.write_text(json.dumps(document, indent=2) + "\n")
    if run.was_interrupted:
        return EXIT_INTERRUPTED
    return EXIT_FAILURES if run.report.failed else EXIT_OK


async def measure(options: BenchOptions, progress: TextIO | None = sys.stderr) -> Run:
    """Probe the endpoint and run the load; an interrupt ends it with what has finished.

    Raises:
        UsageError: The plan or the model's name is wrong.
        UnreachableError: The endpoint does not answer as needed.
    """
    requests = plan(options.profile, vocab_size=options.vocab_size)
    results: list[RequestResult] = []
    show = _Progress(len(requests), progress)
    async with new_session(options.api_key) as session:
        endpoint = await probe(session, options.url, options.model, timeout_s=options.timeout_s)

        def on_result(result: RequestResult) -> None:
            results.append(result)
            show.update(result)

        running = load.run(
            session,
            endpoint,
            options.profile,
            requests,
            timeout_s=options.timeout_s,
            on_result=on_result,
        )
        was_interrupted = await _until_interrupt(asyncio.create_task(running))
    show.clear()
    return Run(endpoint, report(results, planned=len(requests)), results, was_interrupted)


def to_document(options: BenchOptions, run: Run, started_at: datetime) -> dict[str, object]:
    """Build the JSON result: what was measured, on what, with which load."""
    return {
        "schema_version": SCHEMA_VERSION,
        "started_at": started_at.isoformat(timespec="seconds"),
        **describe(),
        "endpoint": dataclasses.asdict(run.endpoint),
        "workload": dataclasses.asdict(options.profile)
        | {"vocab_size": options.vocab_size, "timeout_s": options.timeout_s},
        "was_interrupted": run.was_interrupted,
        "report": dataclasses.asdict(run.report),
        "requests": [_row(result) for result in sorted(run.results, key=lambda r: r.index)],
    }


def _check(options: BenchOptions) -> None:
    """Refuse a result file that cannot be written now rather than after the load."""
    path = options.json_path
    if path is not None and (path.is_dir() or not os.access(path.parent, os.W_OK)):
        raise UsageError(
            f"the result cannot be written to {path}: name a file in a folder that exists and "
            f"can be written to."
        )


async def _until_interrupt(task: asyncio.Task[None]) -> bool:
    """Wait for `task`; on SIGINT or SIGTERM cancel it and return True."""
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()

    def interrupt() -> None:
        interrupted.set()
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
    finally:
        task.cancel()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    return interrupted.is_set()


def _row(result: RequestResult) -> dict[str, object]:
    return {
        "index": result.index,
        "outcome": result.outcome.value,
        "detail": result.detail,
        "prompt_tokens": result.prompt_tokens,
        "output_tokens": result.output_tokens,
        "ttft_s": result.ttft_s,
        "e2e_s": result.e2e_s,
    }


class _Progress:
    """One line on a terminal, rewritten at each result; silent anywhere else."""

    def __init__(self, planned: int, out: TextIO | None) -> None:
        self._planned = planned
        self._out = out if out is not None and out.isatty() else None
        self._done = 0
        self._failed = 0

    def update(self, result: RequestResult) -> None:
        self._done += 1
        self._failed += result.outcome is not Outcome.OK
        if self._out is not None:
            failed = f", {self._failed} failed" if self._failed else ""
            self._out.write(f"\r\x1b[K{self._done}/{self._planned} requests{failed}")
            self._out.flush()

    def clear(self) -> None:
        if self._out is not None:
            self._out.write("\r\x1b[K")
            self._out.flush()
