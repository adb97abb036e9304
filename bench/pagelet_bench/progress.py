"""A progress bar on a terminal; silent anywhere else, so that logs stay readable."""

from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pagelet_bench.core.result import Outcome, RequestResult


class RunProgress:
    """Counts results while it is entered."""

    def __init__(self, out: TextIO | None) -> None:
        """Prepare; nothing is shown unless `out` is a terminal."""
        console = Console(file=out, stderr=out is None)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=out is None or not out.isatty(),
        )
        self._task = self._bar.add_task("probing", total=None, failed="")
        self._failed = 0

    def __enter__(self) -> "RunProgress":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def begin(self, what: str, planned: int) -> None:
        """Count anew, up to `planned` results."""
        self._failed = 0
        self._bar.reset(self._task, total=planned, description=what, failed="")

    def update(self, result: RequestResult) -> None:
        """Count one result."""
        self._failed += result.outcome is not Outcome.OK
        failed = f"{self._failed} failed" if self._failed else ""
        self._bar.update(self._task, advance=1, failed=failed)
