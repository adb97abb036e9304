"""Which endpoint of a revision takes the next request: the one with the least in flight."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

MAX_AVOID_S = 10.0
"""Longest time an endpoint is left alone: what a restarted engine waits at most for traffic
while others serve. When nothing else serves it is asked all the same."""


@dataclass(slots=True)
class Picker:
    """Counts requests in flight per endpoint and remembers which endpoints to leave alone.

    An endpoint that refuses requests empties quickly and would attract every new one; so
    after a refusal it is avoided for a while.
    """

    _in_flight: dict[str, int] = field(default_factory=dict)
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
    ) -> str | None:
        """Choose the endpoint with the least in flight; among equals the longest unused.

        Args:
            endpoints: Base URLs of one revision.
            now: Monotonic seconds.
            tried: Endpoints this request has been to.
            even_avoided: Take an avoided endpoint, too: when all are, one more try is
                better than a certain refusal.

        Returns:
            None when no endpoint is left.
        """
        left = [
            url
            for url in endpoints
            if url not in tried and (even_avoided or not self.is_avoided(url, now))
        ]
        return min(
            left,
            key=lambda url: (self._in_flight.get(url, 0), self._last_turn.get(url, 0)),
            default=None,
        )

    def begin(self, url: str) -> None:
        """Count a request to `url` as in flight until `end`."""
        self._turn += 1
        self._last_turn[url] = self._turn
        self._in_flight[url] = self._in_flight.get(url, 0) + 1

    def end(self, url: str) -> None:
        """Undo one `begin`."""
        assert self._in_flight.get(url, 0) > 0, url
        self._in_flight[url] -= 1

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
        return self._in_flight.get(url, 0)

    def keep_only(self, endpoints: Collection[str]) -> None:
        """Forget endpoints that left the table, once nothing is in flight on them."""
        for url in [url for url in self._last_turn if url not in endpoints]:
            if not self._in_flight.get(url):
                self._in_flight.pop(url, None)
                self._last_turn.pop(url)
        for url in [url for url in self._avoid_until if url not in endpoints]:
            self.forgive(url)
