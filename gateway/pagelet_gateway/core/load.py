"""How busy each endpoint is: what its engine said a moment ago, and what we have sent since.

An engine's own numbers count what every gateway sent it, but are old by up to one round of
scraping; the gateway's own count is exact, but knows nothing of others. Together: the engine's
numbers, plus the change of the own count since they were read, so nothing counts twice.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

MAX_AGE_S = 3.0
"""Older reports are not believed: an engine that says nothing may be stuck, or overrun."""

WAITING_COST = 4
"""A waiting request weighs as much as four that run: whoever joins its queue waits behind it,
while one more running request slows the others only a little."""


@dataclass(slots=True)
class _Report:
    cost: int
    at: float
    own: int
    """Own requests in flight when it was read."""
    waiting: int


@dataclass(slots=True)
class LoadBook:
    """Loads by endpoint URL; integers, comparable among endpoints of one revision."""

    _in_flight: dict[str, int] = field(default_factory=dict)
    _reports: dict[str, _Report] = field(default_factory=dict)

    def begin(self, url: str) -> None:
        """Count a request to `url` as in flight until `end`."""
        self._in_flight[url] = self._in_flight.get(url, 0) + 1

    def end(self, url: str) -> None:
        """Undo one `begin`."""
        assert self._in_flight.get(url, 0) > 0, url
        self._in_flight[url] -= 1

    def in_flight(self, url: str) -> int:
        """Own requests begun and not ended."""
        return self._in_flight.get(url, 0)

    def report(self, url: str, *, waiting: int, running: int, now: float) -> None:
        """Take what the engine at `url` says of itself."""
        cost = max(0, running) + WAITING_COST * max(0, waiting)
        self._reports[url] = _Report(cost, now, self.in_flight(url), max(0, waiting))

    def waiting(self, urls: Iterable[str], now: float) -> int | None:
        """Requests that wait in these engines, as far as they tell; None if none does."""
        told = [self._reports[url].waiting for url in urls if self._is_fresh(url, now)]
        return sum(told) if told else None

    def loads(self, urls: Iterable[str], now: float) -> dict[str, int]:
        """The load of each endpoint.

        Own counts alone while one of them has no fresh report: compared with engines that
        count every gateway's requests, one that tells nothing would look idle.
        """
        urls = list(urls)
        if not all(self._is_fresh(url, now) for url in urls):
            return {url: self.in_flight(url) for url in urls}
        return {url: self._estimate(url) for url in urls}

    def keep_only(self, urls: Collection[str]) -> None:
        """Forget endpoints outside `urls`; counts only once nothing is in flight."""
        for url in [url for url in self._reports if url not in urls]:
            del self._reports[url]
        for url in [url for url, count in self._in_flight.items() if not count]:
            if url not in urls:
                del self._in_flight[url]

    def _is_fresh(self, url: str, now: float) -> bool:
        report = self._reports.get(url)
        return report is not None and now - report.at <= MAX_AGE_S

    def _estimate(self, url: str) -> int:
        report, own = self._reports[url], self.in_flight(url)
        return max(own, report.cost + own - report.own)
