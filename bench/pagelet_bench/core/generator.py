"""Was the load generator the bottleneck? What it noticed of itself during a run.

A generator that is busy sends late and reads late. Sending late is part of the latencies already
(they begin when a request was due); reading late is not, so the lag of its event loop, the delay
of a timer behind its time, bounds how much of any latency may be the generator's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pagelet_bench.core.report import percentile

HIGH_LAG_S = 0.010
"""p99 lag from which figures are doubted: half of a fast server's time between tokens."""

HIGH_LATE_S = 0.1
"""Delay of one request behind its due time from which the rate was not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """What one run asked of this machine.

    Attributes:
        lag_p50_s, lag_p99_s, lag_max_s: Delay of the event loop's timers.
        cpu_share: CPU time of this process over the run's duration; 1 is one core.
    """

    lag_p50_s: float
    lag_p99_s: float
    lag_max_s: float
    cpu_share: float

    @property
    def is_doubtful(self) -> bool:
        """Whether the lag is large enough to distort the figures."""
        return self.lag_p99_s > HIGH_LAG_S


def observed(lags_s: Sequence[float], *, cpu_s: float, duration_s: float) -> Generator:
    """Summarise the lags of a run, of which there may be none."""
    ascending = sorted(lags_s) or [0.0]
    return Generator(
        lag_p50_s=percentile(ascending, 50),
        lag_p99_s=percentile(ascending, 99),
        lag_max_s=ascending[-1],
        cpu_share=cpu_s / duration_s if duration_s > 0 else 0.0,
    )


def remarks(found: Generator | None, max_late_s: float) -> list[str]:
    """Say what a reader of the figures has to know; empty for a generator that kept up."""
    lines = []
    if max_late_s > HIGH_LATE_S:
        lines.append(
            f"A request left {max_late_s:.2f} s after its due time: this machine could not keep "
            f"the rate. Latencies include the delay."
        )
    if found is not None and found.is_doubtful:
        lines.append(
            f"The generator's own event loop lagged by {found.lag_p99_s * 1000:.1f} ms (p99) and "
            f"used {found.cpu_share:.2f} cores: latencies may be too high by as much. Give it a "
            f"core of its own, or another machine."
        )
    return lines
