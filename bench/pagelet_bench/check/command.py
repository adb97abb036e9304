"""The body of `pagelet check`: discover, probe, print, save."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

from pagelet_bench.check.discovery import discover
from pagelet_bench.check.files import check_writable, command_line, read_key
from pagelet_bench.check.runner import run_probes
from pagelet_bench.check.wire import Wire
from pagelet_bench.core.check.catalogue import select
from pagelet_bench.core.check.records import endpoint_record
from pagelet_bench.core.check.render import markdown, text
from pagelet_bench.core.check.report import EndpointReport
from pagelet_bench.core.check.trial import Outcome
from pagelet_bench.core.check.verdict import Probe
from pagelet_bench.core.errors import BenchError, UsageError
from pagelet_bench.environment import hardware, versions
from pagelet_bench.probe import base_url

SCHEMA_VERSION = 1

EXIT_OK, EXIT_FAILS, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOptions:
    """One endpoint as it was named; the key is never shown."""

    url: str
    model: str | None = None
    api_key: str | None = None
    api_key_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """What to ask of whom."""

    endpoints: Sequence[EndpointOptions]
    only: Sequence[str] = ()
    timeout_s: float = 30.0
    limit_s: float = 900.0
    json_path: Path | None = None
    markdown_path: Path | None = None


def check(options: CheckOptions) -> int:
    """Run the probes, print the table on stdout, write the files, and return the exit code."""
    started_at = datetime.now(UTC)
    try:
        probes = select(options.only)
        check_writable(options.json_path, options.markdown_path)
        reports = asyncio.run(_reports(probes, options))
    except BenchError as error:
        print(f"pagelet check: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    sys.stdout.write(text(reports))
    _save(options, reports, started_at)
    return EXIT_FAILS if any(report.failing for report in reports) else EXIT_OK


async def _reports(probes: Sequence[Probe], options: CheckOptions) -> list[EndpointReport]:
    """Ask all endpoints at the same time, each its requests one after the other."""
    asking = [_report(endpoint, probes, options) for endpoint in options.endpoints]
    return list(await asyncio.gather(*asking))


async def _report(
    endpoint: EndpointOptions, probes: Sequence[Probe], options: CheckOptions
) -> EndpointReport:
    base = _base(endpoint.url)
    key = read_key(endpoint.api_key, endpoint.api_key_file)
    progress = _Progress(base, len(probes), sys.stderr)
    async with Wire(base, key, timeout_s=options.timeout_s) as wire:
        target, server = await discover(wire, endpoint.model, has_key=key is not None)
        outcomes = await run_probes(
            wire, target, probes, limit_s=options.limit_s, on_outcome=progress.update
        )
    progress.clear()
    return EndpointReport(url=base, model=target.model, server=server, outcomes=outcomes)


def _base(url: str) -> str:
    base = base_url(url)
    if "@" in urlsplit(base).netloc:
        raise UsageError("the address holds a password; use --api-key-file for the key instead.")
    return base


def _save(options: CheckOptions, reports: Sequence[EndpointReport], started_at: datetime) -> None:
    about = {
        "started_at": started_at.isoformat(timespec="seconds"),
        "command": command_line(sys.argv),
        "hardware": hardware(),
        "versions": versions(),
    }
    if options.json_path is not None:
        document = {
            "schema_version": SCHEMA_VERSION,
            **about,
            "endpoints": [endpoint_record(report) for report in reports],
        }
        options.json_path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    if options.markdown_path is not None:
        machine = hardware()
        lines = [
            f"{about['started_at']}, asked by pagelet {versions().get('pagelet', '')} with "
            f"`{about['command']}`",
            f"asked from {machine['cores']} cores of {machine['cpu']}",
        ]
        options.markdown_path.write_text(markdown(reports, lines))


class _Progress:
    """One line on a terminal, rewritten after each probe; silent anywhere else."""

    def __init__(self, base: str, planned: int, out: TextIO) -> None:
        self._base = base
        self._planned = planned
        self._done = 0
        self._out = out if out.isatty() else None

    def update(self, outcome: Outcome) -> None:
        self._done += 1
        if self._out is not None:
            line = f"{self._base}: {self._done}/{self._planned} {outcome.probe.id}"
            self._out.write(f"\r\x1b[K{line}")
            self._out.flush()

    def clear(self) -> None:
        if self._out is not None:
            self._out.write("\r\x1b[K")
            self._out.flush()
