"""What a user asks of the scaler, and the constants behind it.

Durations are seconds, shares ratios in [0, 1].
"""

from dataclasses import dataclass

TREND_S = 300.0
"""What a trend is drawn from: shorter than a change of the hour, longer than a burst's noise."""

MISSED = 3
"""Readings in a row that may be missed before what was read says nothing of now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What users are promised. None where nothing is."""

    ttft_p99_s: float | None = None
    itl_p99_s: float | None = None
    queue_depth: float = 2.0
    """Waiting sequences per ready replica that are still fine."""
    kv_cache_usage: float = 0.85
    """Share of a replica's KV blocks; above it sequences get preempted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingPolicy:
    """How many replicas a model may have, and when that changes.

    Raises:
        ValueError: The bounds leave no number of replicas.
    """

    min_replicas: int = 1
    max_replicas: int = 1
    targets: Targets = Targets()
    places: int = 64
    """Sequences one replica computes at once."""
    interval_s: float = 15.0
    """Between two readings: several in a burst, and a thousandth of a core for each model."""
    up_percent_per_minute: int = 100
    up_replicas_per_minute: int = 4
    """Of both limits the looser one counts: a single replica may become five at once."""
    down_window_s: float = 300.0
    """All signals have to be low for so long."""
    down_percent_per_minute: int = 10
    """At least one replica, whatever the percentage: what drains is not counted twice."""
    settle_s: float = 3600.0
    """After more replicas were needed again, none is taken away for so long. So no noise causes
    more than two changes of direction in this time."""
    idle_to_zero_after_s: float | None = None
    """Without any request for so long no replica is kept; None for never."""

    @property
    def fresh_s(self) -> float:
        """Readings that are older say nothing of now."""
        return MISSED * self.interval_s

    def __post_init__(self) -> None:
        if not 0 <= self.min_replicas <= self.max_replicas:
            raise ValueError(
                f"replicas from {self.min_replicas} to {self.max_replicas} leave no choice: the "
                f"minimum must be 0 or more and not above the maximum"
            )
