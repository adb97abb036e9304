"""What `pagelet up` tells the one who started it, as data and in three forms."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Protocol, TextIO

from pagelet_operator.api.standing import Standing

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something happened or was decided."""

    reason: str
    """CamelCase; for a decision the reason that conditions and events on a cluster have."""
    message: str
    model: str | None = None
    """Name of the resource it is about, if it is about one."""
    details: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    """More for machines: phase, stable, canary, weights, replicas."""


class Report(Protocol):
    """Where events and standings go. Never raises for a reader who has left."""

    def event(self, event: Event) -> None:
        """Tell of an event, once."""
        ...

    def rows(self, rows: Sequence[Standing]) -> None:
        """Tell how all models stand; called often, with the same rows as well."""
        ...

    def close(self) -> None:
        """Put the terminal back as it was."""
        ...


class LineReport:
    """One line per event: for people, or one JSON object for machines."""

    def __init__(self, out: TextIO, *, as_json: bool) -> None:
        self._out = out
        self._as_json = as_json

    def event(self, event: Event) -> None:
        """Write the event's line."""
        now = datetime.now(UTC)
        line = json_line(event, now) if self._as_json else plain_line(event, now)
        try:
            print(line, file=self._out, flush=True)
        except OSError:
            _discard(self._out)  # the reader has left; serving goes on

    def rows(self, rows: Sequence[Standing]) -> None:
        """Say nothing: every change of a row comes with an event."""

    def close(self) -> None:
        """Do nothing: lines leave no trace on a terminal."""


def _discard(out: TextIO) -> None:
    """Let what is buffered, and all that follows, go nowhere, or the exit would fail on it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, out.fileno())
    os.close(nowhere)


def plain_line(event: Event, now: datetime) -> str:
    """Return an event as people read it."""
    if event.reason == "Serving":
        return event.message  # the line that scripts wait for, always in one form
    subject = f"{event.model}: " if event.model else ""
    return f"{now.astimezone():%H:%M:%S} {event.reason}: {subject}{event.message}"


def json_line(event: Event, now: datetime) -> str:
    """Return an event as one JSON object."""
    return json.dumps(
        {
            "time": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reason": event.reason,
            "model": event.model,
            "message": event.message,
            **event.details,
        }
    )
