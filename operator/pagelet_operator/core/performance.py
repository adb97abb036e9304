"""What is remembered of the load tests of what serves: what they lack, and when one is due."""

from dataclasses import dataclass

from pagelet_operator.core.lengths import NO_LENGTHS, Lengths
from pagelet_operator.core.revalidation import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """Of one model; persisted between reconciles like the rollout. Times are Unix seconds."""

    revision: str | None = None
    """The stable revision that it is about."""
    reason: Reason | None = None
    """What the last look said."""
    message: str = ""
    """Why; told anew when the reason changes, not with every request."""
    since: float = 0.0
    """Since when the load test has not spoken for what serves; 0 while it does."""
    due_at: float | None = None
    """When the load test is run again; None where it is not needed or not asked for."""
    not_before: float = 0.0
    """Until when a test that was ended for users' sake is not tried again."""
    testing: bool = False
    """Whether the load test is to run now."""
    lengths: Lengths = NO_LENGTHS
    """What its requests are to be like; empty for what the gate itself asks for."""
    note: str = ""
    """What becomes of the load test, for people."""
    hours: tuple[int, ...] = ()
    """Requests of the last whole hours, the oldest first, at most 23."""
    hour_ends_at: float | None = None
    """When the current hour ends."""


UNKNOWN = Performance()
"""Nothing is remembered."""
