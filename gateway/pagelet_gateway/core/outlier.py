"""Which endpoints of a revision are left alone because they are worse than the others.

An endpoint is ejected by errors in a row, by its error rate, or by first tokens that take much
longer than its siblings'. Ejection helps only while the others can carry the load: at most a
share is ejected at once, and when every endpoint looks broken, none is.
"""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from pagelet_gateway.core.breaker import Breaker, State, Ticket
from pagelet_gateway.core.route_table import BreakerPolicy

SAMPLE = 32
"""First-token times remembered per endpoint."""
MIN_SAMPLE = 16
"""Fewest of them, on both sides, that are compared."""
SLOW_FACTOR = 4.0
SLOW_BY_S = 1.0
"""An endpoint is too slow when its median is both this many times, and by this much, above its
siblings'. First-token times vary with prompts, so less than that may be chance."""


@dataclass(slots=True)
class Outliers:
    """The endpoints of one revision. Times are monotonic seconds."""

    policy: BreakerPolicy
    seed: str
    _breakers: dict[str, Breaker] = field(default_factory=dict)
    _first_tokens: dict[str, deque[float]] = field(default_factory=dict)

    def ejected(self, endpoints: Sequence[str], now: float) -> frozenset[str]:
        """Which of `endpoints` get no request now.

        Never all, and never more than `max_ejected_percent` of them or one, whichever is
        more; when there are more candidates, those with the least time to go are let in.
        """
        bad = [url for url in endpoints if not self._admits(url, now)]
        if not bad or len(bad) == len(endpoints):
            return frozenset()
        room = max(1, len(endpoints) * self.policy.max_ejected_percent // 100)
        bad.sort(key=lambda url: self._breakers[url].opens_in_s(now), reverse=True)
        return frozenset(bad[:room])

    def probe_due(self, endpoints: Sequence[str], now: float) -> list[str]:
        """Those whose next request is a probe; nothing else brings them back."""
        known = self._breakers
        return [url for url in endpoints if url in known and known[url].is_probe_due(now)]

    def enter(self, url: str, now: float, deadline: float) -> Ticket:
        """Count a request to `url` in; see `Breaker.enter`."""
        return self.breaker(url).enter(now, deadline)

    def breaker(self, url: str) -> Breaker:
        """The circuit of one endpoint."""
        found = self._breakers.get(url)
        if found is None:
            found = self._breakers[url] = Breaker(self.policy, f"{self.seed} {url}")
        return found

    def saw_first_token(self, url: str, after_s: float, now: float) -> None:
        """Take how long `url` took for a stream's first byte; eject it if it lags behind."""
        mine = self._first_tokens.setdefault(url, deque(maxlen=SAMPLE))
        mine.append(after_s)
        others = [
            seconds
            for other, sample in self._first_tokens.items()
            if other != url
            for seconds in sample
        ]
        if len(mine) < MIN_SAMPLE or len(others) < MIN_SAMPLE:
            return
        usual_s, own_s = _median(others), _median(mine)
        too_slow = own_s > SLOW_FACTOR * usual_s and own_s > usual_s + SLOW_BY_S
        if too_slow and self.breaker(url).state(now) is State.CLOSED:
            mine.clear()
            self.breaker(url).trip(now)

    def keep_only(self, endpoints: Collection[str]) -> None:
        """Forget endpoints that left the table; one that comes back starts anew."""
        for url in [url for url in self._breakers if url not in endpoints]:
            del self._breakers[url]
        for url in [url for url in self._first_tokens if url not in endpoints]:
            del self._first_tokens[url]

    def _admits(self, url: str, now: float) -> bool:
        breaker = self._breakers.get(url)
        return breaker is None or breaker.admits(now)


def _median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]
