"""Lets requests wait in front of engines that have as many as they answer in time.

A request that finds its endpoints full goes to a fallback if there is one, else it stands in line
(`core.waiting_line`). What ends makes room for the next; a slow clock covers what else may make
room: a limit that rose or went, a table with another endpoint.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pagelet_gateway.core.guard import Key
from pagelet_gateway.core.router import Router, Target
from pagelet_gateway.core.waiting_line import Place, WaitingLine
from pagelet_gateway.errors import UnavailableError
from pagelet_gateway.metrics import Outcome
from pagelet_gateway.server.call import Call

LOOK_S = 0.1
"""Time between two looks for room that nothing announced."""

Choose = Callable[[], Target | None]


@dataclass(slots=True, eq=False)
class _Waiter:
    choose: Choose
    place: Place
    chosen: "asyncio.Future[Target | None]"


class Crowd:
    """The lines in front of all revisions; belongs to one event loop."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._lines: dict[Key, WaitingLine] = {}
        self._waiters: dict[Place, _Waiter] = {}
        self._timer: asyncio.TimerHandle | None = None

    def is_in_front_of(self, target: Target) -> bool:
        """Whether a request for `target` has to wait: nobody overtakes those in line."""
        return target.key in self._lines or self._router.is_full(target.url, time.monotonic())

    async def place_for(self, call: Call, target: Target, choose: Choose) -> Target | None:
        """Wait until there is a place.

        Args:
            call: The request.
            target: Where it would go.
            choose: Chooses again, when it is its turn.

        Returns:
            Where it goes, at once and without a further wait; None if nothing is left to go to.

        Raises:
            UnavailableError: It would wait too long, or has.
        """
        now = time.monotonic()
        self._router.found_full(target, now)
        line = self._lines.setdefault(target.key, WaitingLine())
        tenant = call.caller.tenant
        name, weight = (tenant.name, tenant.weight) if tenant else ("", 1)
        place = line.join(name, weight, call.remaining_s(), now)
        if place is None:
            self._forget(target.key, line)
            raise self._refusal(call, line)
        waiter = _Waiter(choose, place, asyncio.get_running_loop().create_future())
        self._waiters[place] = waiter
        self._keep_looking()
        try:
            await asyncio.wait([waiter.chosen], timeout=place.until - now)
            if not waiter.chosen.done():
                raise self._refusal(call, line)
            return waiter.chosen.result()
        finally:
            self._leave(target.key, line, waiter)

    def make_room(self, key: Key) -> None:
        """Give the places that are free now to those who are next."""
        line, now = self._lines.get(key), time.monotonic()
        while line is not None and (place := line.first()) is not None:
            waiter = self._waiters[place]
            target = waiter.choose()
            if target is not None and self._router.is_full(target.url, now):
                self._router.found_full(target, now)
                return
            if target is not None:
                self._router.begin(target)  # keeps the place until the request's task runs
            line.give(place, now)
            waiter.chosen.set_result(target)

    def lengths(self) -> Iterator[tuple[Key, int]]:
        """How many wait in front of each revision."""
        return ((key, len(line)) for key, line in self._lines.items())

    def _leave(self, key: Key, line: WaitingLine, waiter: _Waiter) -> None:
        del self._waiters[waiter.place]
        if not waiter.chosen.done():
            line.leave(waiter.place)
        elif (target := waiter.chosen.result()) is not None:
            self._router.end(target)
        self._forget(key, line)

    def _forget(self, key: Key, line: WaitingLine) -> None:
        if not line and self._lines.get(key) is line:
            del self._lines[key]

    def _refusal(self, call: Call, line: WaitingLine) -> UnavailableError:
        call.outcome = Outcome.UNAVAILABLE
        return UnavailableError(
            f"The model {call.model!r} is asked for more than it can answer in time; try again.",
            code="overloaded",
            retry_after_s=line.retry_after_s(time.monotonic()),
        )

    def _keep_looking(self) -> None:
        if self._timer is None and self._lines:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _look(self) -> None:
        self._timer = None
        for key in list(self._lines):
            self.make_room(key)
        self._keep_looking()
