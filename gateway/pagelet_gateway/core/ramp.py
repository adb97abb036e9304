"""Slow start: an endpoint that joins others gets its share step by step.

A fresh engine has empty caches and, by any count of load, attracts every new request at once.
While it is new, its requests are rationed: per pick it earns a part of its fair share that
grows with its age, and it may be picked when it has earned a whole request.

Source of the idea: Envoy's slow start mode; rationing picks instead of scaling weights keeps
the bound exact with any way of choosing among endpoints.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

RAMP_S = 10.0
"""How long an endpoint counts as new: long enough to warm caches, short enough for an endpoint
that was added because the others cannot keep up."""

FLOOR = 0.1
"""Part of the fair share it has from its first moment, so that it gets warm at all."""

MAX_SAVED = 2.0
"""Requests a newcomer can save up: no burst after a while in which it was not chosen."""


@dataclass(slots=True)
class _Newcomer:
    since: float
    earned: float = 0.0
    """Requests it may take."""


@dataclass(slots=True)
class Ramp:
    """Knows which endpoints are new among their peers."""

    _known: set[str] = field(default_factory=set)
    _newcomers: dict[str, _Newcomer] = field(default_factory=dict)

    def held_back(self, peers: Sequence[str], now: float) -> set[str]:
        """Count one pick among `peers`; return those that have not earned it yet.

        Endpoints are new when they join peers already known; peers that are all unknown
        start together, as nobody could carry the rest.

        Args:
            peers: All endpoints of one revision.
            now: Monotonic seconds.
        """
        self._meet(peers, now)
        if not self._newcomers:
            return set()
        held = set()
        for url in peers:
            newcomer = self._newcomers.get(url)
            if newcomer is None:
                continue
            share = self._share(newcomer, now)
            if share >= 1.0:
                del self._newcomers[url]
                continue
            newcomer.earned = min(MAX_SAVED, newcomer.earned + share / len(peers))
            if newcomer.earned < 1.0:
                held.add(url)
        return held

    def picked(self, url: str) -> None:
        """Pay for a request that goes to `url`."""
        newcomer = self._newcomers.get(url)
        if newcomer is not None:
            newcomer.earned = max(0.0, newcomer.earned - 1.0)

    def keep_only(self, urls: Collection[str]) -> None:
        """Forget endpoints that left: when they come back they are new."""
        self._known &= set(urls)
        for url in [url for url in self._newcomers if url not in urls]:
            del self._newcomers[url]

    def _meet(self, peers: Sequence[str], now: float) -> None:
        unknown = [url for url in peers if url not in self._known]
        if not unknown:
            return
        if len(unknown) < len(peers):
            for url in unknown:
                self._newcomers[url] = _Newcomer(now)
        self._known.update(unknown)

    def _share(self, newcomer: _Newcomer, now: float) -> float:
        age = max(0.0, now - newcomer.since) / RAMP_S
        return FLOOR + (1.0 - FLOOR) * age
