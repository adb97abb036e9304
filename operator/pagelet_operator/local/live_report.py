"""The live table on a terminal: how all models stand, with events scrolling above it."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pagelet_operator.api.standing import Standing
from pagelet_operator.local.report import Event, plain_line
from pagelet_operator.standing_table import table

_ALARMING = ("Failed", "Refused", "Restarting", "NotReady", "Deadline", "Unavailable")


class LiveReport:
    """Draws with rich; only when something changed, and from the caller's thread."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rows: tuple[Standing, ...] = ()
        self._live = Live(console=console, auto_refresh=False)
        self._live.start()

    def event(self, event: Event) -> None:
        """Write the event above the table."""
        alarming = any(word in event.reason for word in _ALARMING)
        style = "bold green" if event.reason == "Serving" else "yellow" if alarming else ""
        with suppress(OSError):  # the terminal is gone; serving ends in order, or goes on
            self._console.print(Text(plain_line(event, datetime.now(UTC)), style=style))

    def rows(self, rows: Sequence[Standing]) -> None:
        """Redraw the table if it changed."""
        if tuple(rows) != self._rows:
            self._rows = tuple(rows)
            with suppress(OSError):
                self._live.update(table(rows), refresh=True)

    def close(self) -> None:
        """Leave the last table standing and give the terminal back."""
        with suppress(OSError):
            self._live.stop()
