"""Who waits in front of a revision whose endpoints are full, in which order, and for how long.

Tenants take turns by weight, so one that floods waits behind its own flood; within a tenant the
first comes first. The line moves as fast as places were given lately, so a newcomer's wait can be
foretold; who would wait too long is told so at once, with a time to come back.

Source of the idea: start-time fair queueing, Goyal et al. 1996.
"""

from collections import deque
from dataclasses import dataclass, field
from math import ceil

PATIENCE = 0.4
"""Part of a request's time it may spend in line; the answer needs the rest."""
MAX_WAITING = 4096
"""Longest line, whatever time requests have: each holds its body in memory."""
MAX_RETRY_AFTER_S = 60
RECENT = 32
"""Places given whose pace foretells the next ones."""
FEW = 8
"""Fewer foretell nothing."""


@dataclass(slots=True, eq=False)
class Place:
    """One request in line."""

    tenant: str
    until: float
    """When it has waited long enough."""


@dataclass(slots=True)
class _Lane:
    """One tenant's part of the line."""

    weight: int
    turn: float
    """When its first is due, counted in turns; the lane with the least is next."""
    places: deque[Place] = field(default_factory=deque)


@dataclass(slots=True)
class WaitingLine:
    """The line in front of one revision. Times are monotonic seconds."""

    _lanes: dict[str, _Lane] = field(default_factory=dict)
    """An empty one stays until the others have caught up, or leaving would save its turn."""
    _turn: float = 0.0
    _given: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    _length: int = 0

    def __len__(self) -> int:
        return self._length

    def join(self, tenant: str, weight: int, remaining_s: float, now: float) -> Place | None:
        """Let a request wait; None if it would wait too long.

        Args:
            tenant: Whose it is.
            weight: The tenant's share of the places, >= 1.
            remaining_s: How much of its time is left.
            now: When.
        """
        if not self._length:
            self._given.clear()  # an empty line moves at no pace
        patience_s = PATIENCE * remaining_s
        wait_s = self._wait_s(self._in_front(tenant, weight), now)
        if self._length >= MAX_WAITING or patience_s <= 0 or (wait_s or 0.0) > patience_s:
            return None
        lane = self._lanes.setdefault(tenant, _Lane(weight, self._turn))
        lane.weight = weight
        place = Place(tenant, now + patience_s)
        lane.places.append(place)
        self._length += 1
        return place

    def first(self) -> Place | None:
        """Who is next."""
        waiting = [lane for lane in self._lanes.values() if lane.places]
        lane = min(waiting, key=lambda lane: lane.turn, default=None)
        return lane.places[0] if lane else None

    def give(self, place: Place, now: float) -> None:
        """Take `first` out of the line, for it has a place now."""
        lane = self._lanes[place.tenant]
        self._turn = lane.turn
        lane.turn += 1.0 / lane.weight
        self._given.append(now)
        self.leave(place)

    def leave(self, place: Place) -> None:
        """Take a request out of the line that waits no longer."""
        self._lanes[place.tenant].places.remove(place)
        self._length -= 1
        for name, lane in list(self._lanes.items()):
            if not lane.places and (lane.turn <= self._turn or not self._length):
                del self._lanes[name]

    def retry_after_s(self, now: float) -> int:
        """Return when the line as it is will have passed, as whole seconds from 1 on."""
        wait_s = self._wait_s(self._length + 1, now)
        return min(MAX_RETRY_AFTER_S, max(1, ceil(wait_s or 1.0)))

    def _in_front(self, tenant: str, weight: int) -> int:
        """How many places are given until a tenant's next request has one, at most."""
        lane = self._lanes.get(tenant)
        mine = 1 + (len(lane.places) if lane else 0)
        others = sum(
            min(len(lane.places), ceil(mine * lane.weight / weight))
            for name, lane in self._lanes.items()
            if name != tenant
        )
        return mine + others

    def _wait_s(self, num_places: int, now: float) -> float | None:
        if len(self._given) < FEW:
            return None
        span_s = now - self._given[0]
        return num_places * span_s / len(self._given)
