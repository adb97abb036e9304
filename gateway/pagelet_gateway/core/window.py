"""What was used in the last minute, in slots of a second.

A slot counts until every moment in it is more than a minute ago. So within any 60 seconds never
more than the limit is used; a client that always asks gets the limit every 61 s.
"""

from collections import deque
from math import floor

WINDOW_S = 60
SLOT_S = 1


class Window:
    """One sliding minute.

    Attributes:
        used: Sum of what still counts, as of the last call with `now`.
    """

    __slots__ = ("_slots", "used")

    def __init__(self) -> None:
        self._slots: deque[list[int]] = deque()  # [slot, amount], oldest first
        self.used = 0

    def advance(self, now: float) -> None:
        """Forget what is over. A clock that goes back changes nothing."""
        oldest = slot_of(now) - WINDOW_S
        while self._slots and self._slots[0][0] < oldest:
            self.used -= self._slots.popleft()[1]

    def add(self, now: float, amount: int) -> None:
        """Count `amount` as used at `now`."""
        self.advance(now)
        slot = slot_of(now)
        if not self._slots or self._slots[-1][0] < slot:
            self._slots.append([slot, 0])
        self._slots[-1][1] += amount
        self.used += amount

    def refund(self, charged_at: float, now: float, amount: int) -> None:
        """Take back up to `amount` of what was added at `charged_at`, if it still counts."""
        self.advance(now)
        slot = slot_of(charged_at)
        for entry in self._slots:
            if entry[0] == slot:
                back = min(amount, entry[1])
                entry[1] -= back
                self.used -= back
                return

    def free_in(self, now: float, limit: int, amount: int) -> float:
        """Return in how many seconds `amount` fits under `limit` if nobody uses more.

        An amount above the limit waits for an empty window.
        """
        self.advance(now)
        over = self.used + min(amount, limit) - limit
        for slot, used in self._slots:
            if over <= 0:
                break
            over -= used
            if over <= 0:
                return slot + SLOT_S + WINDOW_S - now
        return 0.0

    def reset_in(self, now: float) -> float:
        """Return in how many seconds all of it is free again if nobody uses more."""
        self.advance(now)
        newest = next((slot for slot, used in reversed(self._slots) if used), None)
        return 0.0 if newest is None else newest + SLOT_S + WINDOW_S - now


def slot_of(now: float) -> int:
    """Return the slot `now` falls into."""
    return floor(now / SLOT_S)
