"""The body of `pagelet bench`: probe, load, print, save."""

import asyncio
import sys
from datetime import UTC, datetime

from pagelet_bench.core.errors import BenchError
from pagelet_bench.core.table import ramp_table, table
from pagelet_bench.documents import encoded, write
from pagelet_bench.measuring import Run, measure
from pagelet_bench.options import BenchOptions

EXIT_OK, EXIT_FAILURES, EXIT_USAGE, EXIT_SLO, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


def bench(options: BenchOptions) -> int:
    """Run the load, print a table on stdout, and return the exit code."""
    started_at = datetime.now(UTC)
    try:
        options.check()
        run = asyncio.run(measure(options))
        print(_shown(options, run, started_at))
        write(options, run, started_at)
    except BenchError as error:
        print(f"pagelet bench: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:  # during the probe: nothing to print yet
        return EXIT_INTERRUPTED
    return exit_code(run)


def exit_code(run: Run) -> int:
    """Say in a number how a run ended; failures in a search are part of it."""
    found = run.measured
    if found.was_interrupted or (run.ramp is not None and run.ramp.found is None):
        return EXIT_INTERRUPTED
    if run.ramp is not None and run.ramp.found is not None:
        return EXIT_OK if run.ramp.found.holds_per_s is not None else EXIT_SLO
    if found.report.failed:
        return EXIT_FAILURES
    return EXIT_SLO if found.goodput is not None and not found.goodput.is_met else EXIT_OK


def _shown(options: BenchOptions, run: Run, started_at: datetime) -> str:
    if options.json_path is not None and str(options.json_path) == "-":
        return encoded(options, run, started_at).rstrip()
    found = run.measured
    text = table(found.report, found.goodput, found.generator)
    if run.ramp is None:
        return text
    return f"{ramp_table(run.ramp)}\n\nAt {found.profile.rate_per_s:.3g} requests/s:\n{text}"
