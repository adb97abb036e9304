"""What a relay is asked to carry, and what came of it: figures of `gateway.py`."""

import math
from dataclasses import dataclass, field
from enum import Enum


class Pace(Enum):
    """When the engine writes an event."""

    OPEN_LOOP = "at its time, whatever is read"
    IN_STEP = "as OPEN_LOOP, all streams at the same moments, as the steps of an engine are"
    ONE_BY_ONE = "when the stream's last one has been read"
    FLOOD = "as soon as the socket takes it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to ask for."""

    pace: Pace
    streams: int = 200
    interval_s: float = 0.1
    """Between two events of a stream; only with a clock."""
    num_events: int = 10_000
    """Of each stream. With a clock a stream that has ended is replaced by a new one, and the
    first streams are shorter, so that they do not all end together."""
    ramp_s: float = 0.5
    """Streams begin over this time; the window begins after it, once all of them have begun."""
    window_s: float = 2.0
    """What is due in this time is measured; its end ends all streams."""

    @property
    def has_clock(self) -> bool:
        """Whether events have a time at which they are due."""
        return self.pace in (Pace.OPEN_LOOP, Pace.IN_STEP)

    def length(self, number: int) -> int:
        """Events of the stream of this number, the first being 0."""
        if not self.has_clock or number >= self.streams:
            return self.num_events
        return math.ceil(self.num_events * (number + 1) / self.streams)


@dataclass(slots=True)
class Load:
    """What a run saw; times in seconds."""

    latencies_s: list[float] = field(default_factory=list)
    """From the time an event was due until it was read, of those due in the window."""
    lags_s: list[float] = field(default_factory=list)
    """How late events were written."""
    first_s: list[float] = field(default_factory=list)
    """From a request to its first event, of those asked in the window."""
    num_written: int = 0
    num_read: int = 0
    num_streams: int = 0
    num_whole: int = 0
    num_in_window: int = 0
    """Events read in the window."""
    window_s: float = 0.0
    refusals: list[str] = field(default_factory=list)
    """The ends of answers that ended without an event before they should."""

    def report(self) -> dict[str, float]:
        """Counts, rates, and quantiles in milliseconds."""
        return {
            "events_per_s": round(self.num_in_window / max(self.window_s, 1e-9)),
            "event_p50_ms": quantile_ms(self.latencies_s, 0.50),
            "event_p99_ms": quantile_ms(self.latencies_s, 0.99),
            "ttft_p50_ms": quantile_ms(self.first_s, 0.50),
            "ttft_p99_ms": quantile_ms(self.first_s, 0.99),
            "lag_p99_ms": quantile_ms(self.lags_s, 0.99),
            "events_written": self.num_written,
            "events_read": self.num_read,
            "streams": self.num_streams,
            "whole_streams": self.num_whole,
            "refused": len(self.refusals),
        }


def quantile_ms(values: list[float], q: float) -> float:
    """The q-quantile of seconds, in milliseconds; 0 of none."""
    ordered = sorted(values) or [0.0]
    return round(1000 * ordered[min(len(ordered) - 1, int(q * len(ordered)))], 3)
