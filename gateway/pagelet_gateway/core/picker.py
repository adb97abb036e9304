"""Which endpoint of a revision takes the next request."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from pagelet_gateway.core.affinity import Affinity, Chain
from pagelet_gateway.core.load import LoadBook
from pagelet_gateway.core.ramp import Ramp
from pagelet_gateway.core.route_table import Policy

MAX_AVOID_S = 10.0
"""Longest time an endpoint is left alone: what a restarted engine waits at most for traffic
while others serve. When nothing else serves it is asked all the same."""


@dataclass(slots=True)
class Picker:
    """Chooses by load, cache or turn, and remembers which endpoints to leave alone.

    An endpoint that refuses requests empties quickly and would attract every new one; so
    after a refusal it is avoided for a while.
    """

    loads: LoadBook = field(default_factory=LoadBook)
    _ramp: Ramp = field(default_factory=Ramp)
    _affinity: Affinity = field(default_factory=Affinity)
    _avoid_until: dict[str, float] = field(default_factory=dict)
    _strikes: dict[str, int] = field(default_factory=dict)
    _last_turn: dict[str, int] = field(default_factory=dict)
    _turn: int = 0

    def pick(
        self,
        endpoints: Iterable[str],
        now: float,
        *,
        tried: Collection[str] = (),
        even_avoided: bool = False,
        policy: Policy = Policy.LEAST_QUEUE,
        prefix: Chain = (),
        full: Collection[str] = (),
    ) -> str | None:
        """Choose an endpoint; among equals the longest unused.

        Args:
            endpoints: Base URLs of one revision.
            now: Monotonic seconds.
            tried: Endpoints this request has been to.
            even_avoided: Take an avoided endpoint, too: when all are, one more try is
                better than a certain refusal.
            policy: How to choose among those that are left.
            prefix: The prompt's beginning, for PrefixAware; a prompt without a whole block
                goes where the load is least.
            full: Endpoints to pass over while another is left.

        Returns:
            None when no endpoint is left.
        """
        peers = list(endpoints)
        left = [
            url
            for url in peers
            if url not in tried and (even_avoided or not self.is_avoided(url, now))
        ]
        left = [url for url in left if url not in full] or left
        held = self._ramp.held_back(peers, now)
        left = [url for url in left if url not in held] or left
        if len(left) < 2:
            return left[0] if left else None
        match policy:
            case Policy.ROUND_ROBIN:
                return min(left, key=self._turn_of)
            case Policy.PREFIX_AWARE if prefix:
                return self._affinity.choose(prefix, self.loads.loads(left, now))
            case Policy.PREFIX_AWARE | Policy.LEAST_QUEUE:
                return self._least_loaded(left, now)

    def begin(self, url: str, prefix: Chain = ()) -> None:
        """Count a request to `url` as in flight until `end`."""
        self._turn += 1
        self._last_turn[url] = self._turn
        self._ramp.picked(url)
        self.loads.begin(url)
        if prefix:
            self._affinity.remember(prefix, url)

    def end(self, url: str) -> None:
        """Undo one `begin`."""
        self.loads.end(url)

    def avoid(self, url: str, now: float, for_s: float) -> None:
        """Leave `url` alone for a while, twice as long each time until it is forgiven.

        Failures while it is avoided count as one: a hundred requests that fail at once say no
        more than the first.
        """
        if self.is_avoided(url, now):
            return
        strikes = self._strikes.get(url, 0)
        self._strikes[url] = strikes + 1
        self._avoid_until[url] = now + min(MAX_AVOID_S, for_s * 2.0 ** min(strikes, 10))

    def forgive(self, url: str) -> None:
        """`url` has answered: stop avoiding it."""
        self._avoid_until.pop(url, None)
        self._strikes.pop(url, None)

    def is_avoided(self, url: str, now: float) -> bool:
        """Whether `url` refused requests a short while ago."""
        return self._avoid_until.get(url, now) > now

    def in_flight(self, url: str) -> int:
        """Requests begun and not ended."""
        return self.loads.in_flight(url)

    def keep_only(self, endpoints: Collection[str]) -> None:
        """Forget endpoints that left the table, once nothing is in flight on them."""
        for url in [url for url in self._last_turn if url not in endpoints]:
            self._affinity.forget(url)
            if not self.loads.in_flight(url):
                self._last_turn.pop(url)
        for url in [url for url in self._avoid_until if url not in endpoints]:
            self.forgive(url)
        self.loads.keep_only(endpoints)
        self._ramp.keep_only(endpoints)

    def _turn_of(self, url: str) -> int:
        return self._last_turn.get(url, 0)

    def _least_loaded(self, urls: Sequence[str], now: float) -> str:
        loads = self.loads.loads(urls, now)
        return min(urls, key=lambda url: (loads[url], self._turn_of(url)))
