"""What one limit per minute has used: by the minute, and for a share of it in the long run, too.

A whole limit holds in every sliding minute (`core.window`). One replica's share of it may be no
whole number, or less than one request needs: two a minute for three replicas. Rounded down that
would be nothing, rounded up far too much. So a share has a bucket besides, which leaks at the
share's exact rate: what was admitted drains from it, and nothing is admitted that it has no room
for. Then all replicas together keep the limit over ten times as long as one of them needs to earn
a request, and in every minute they are off by less than one request each.

Source of the idea: the leaky bucket as a meter, ITU-T I.371.
"""

from dataclasses import dataclass, field
from math import ceil

from pagelet_gateway.core.window import WINDOW_S, Window

EVEN = 0.92
"""A share that rounded down is at least this part of itself is rounded down, else up."""
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Part:
    """One replica's part of a limit per minute."""

    limit: int
    shares: int = 1
    """Replicas that share it evenly, >= 1."""

    @property
    def exact(self) -> float:
        """Per minute, in the long run."""
        return self.limit / self.shares

    @property
    def in_a_minute(self) -> int:
        """Most in any minute."""
        down = self.limit // self.shares
        return down if down >= EVEN * self.exact else ceil(self.exact)


@dataclass(slots=True)
class Meter:
    """One limit's use. Times are monotonic seconds; a clock that goes back changes nothing."""

    window: Window = field(default_factory=Window)
    _level: float = 0.0
    """What has not yet leaked out of the share's bucket."""
    _rate: float = 0.0
    """What leaks per second; 0 while the limit is not shared."""
    _leaked_at: float = 0.0

    def is_idle(self, now: float) -> bool:
        """Whether a new meter would be the same."""
        self._leak(now)
        self.window.advance(now)
        return not (self.window.used or self._level)

    def free_in(self, now: float, part: Part, amount: int) -> float:
        """Return in how many seconds `amount` is free if nobody uses more.

        An amount above the part waits until nothing is used.
        """
        wait_s = self.window.free_in(now, part.in_a_minute, amount)
        if part.shares == 1:
            return wait_s
        self._leak(now)
        over = self._level + min(amount, part.exact) - part.exact
        if over <= _ROUNDING:
            return wait_s
        return max(wait_s, self._leaked_at - now + over * WINDOW_S / part.exact)

    def left(self, now: float, part: Part) -> int:
        """Return what is free at once."""
        self.window.advance(now)
        free = part.in_a_minute - self.window.used
        if part.shares > 1:
            self._leak(now)
            free = min(free, int(max(1.0, part.exact) - self._level + _ROUNDING))
        return max(0, free)

    def reset_in(self, now: float) -> float:
        """Return in how many seconds all of it is free again if nobody uses more."""
        self._leak(now)
        leaks_s = self._leaked_at - now + self._level / self._rate if self._level else 0.0
        return max(self.window.reset_in(now), leaks_s)

    def add(self, now: float, amount: int, part: Part | None = None) -> None:
        """Count `amount` as used; `part` is of what, if that is known."""
        self._leak(now)
        if part is not None:
            self._rate = part.exact / WINDOW_S if part.shares > 1 else 0.0
        self._level = self._level + amount if self._rate else 0.0
        self.window.add(now, amount)

    def refund(self, charged_at: float, now: float, amount: int) -> None:
        """Take back what was added at `charged_at`, as far as it still counts."""
        self._leak(now)
        self._level = max(0.0, self._level - amount)
        self.window.refund(charged_at, now, amount)

    def _leak(self, now: float) -> None:
        passed_s = max(0.0, now - self._leaked_at)
        self._level = max(0.0, self._level - passed_s * self._rate)
        self._leaked_at = max(self._leaked_at, now)
