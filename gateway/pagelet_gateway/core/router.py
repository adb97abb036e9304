"""From a model name to an endpoint: table, split and picker put together.

Decides only; it opens no connection and reads no clock. The table is swapped whole by
`apply`, between two requests, and requests in flight keep the target they have.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from pagelet_gateway.core import fallback
from pagelet_gateway.core.affinity import Chain
from pagelet_gateway.core.fallback import Link
from pagelet_gateway.core.guard import Guard, Key, external_key
from pagelet_gateway.core.liveness import Liveness
from pagelet_gateway.core.picker import Picker
from pagelet_gateway.core.pressure import Pressure, Sample
from pagelet_gateway.core.retry import AVOID_S, Failure
from pagelet_gateway.core.route_table import ModelRoute, Revision, Role, RouteTable
from pagelet_gateway.core.split import Dealer, by_key


@dataclass(frozen=True, slots=True)
class Target:
    """Where one attempt goes."""

    revision: str
    url: str
    was_avoided: bool
    """Whether it is known to refuse, and chosen only because all others do, too."""
    model: str = ""
    """Whose revision it is; a fallback's own."""
    link: Link | None = None
    """The fallback it belongs to; None for the model that was asked for."""

    @property
    def key(self) -> Key:
        """The circuit that its requests enter."""
        external = self.link.external if self.link else None
        return external_key(external) if external else (self.model, self.revision)


class Router:
    """Chooses a target for every attempt and counts what is in flight."""

    def __init__(self, seed: str = "") -> None:
        """Make a router without a table.

        Args:
            seed: Another one for each gateway, so that they do not probe in step.
        """
        self.table: RouteTable | None = None
        self.guard = Guard(seed)
        self.liveness = Liveness()
        self._chains: dict[str, fallback.Chain] = {}
        self._dealers: dict[str, Dealer] = {}
        self._picker = Picker()
        self._pressures: dict[str, Pressure] = {}

    def apply(self, table: RouteTable) -> None:
        """Obey `table` from the next choice on.

        A model whose shares did not change keeps its place in the deal, so frequent changes
        of endpoints do not skew the split.
        """
        dealers: dict[str, Dealer] = {}
        for name, route in table.models.items():
            weights = _weights(route)
            old = self._dealers.get(name)
            if weights:
                dealers[name] = old if old and old.weights == weights else Dealer(weights)
        self._dealers = dealers
        self.table = table
        self._chains = {name: fallback.chain_of(table, name) for name in table.models}
        self.guard.apply(table)
        urls = {
            url
            for route in table.models.values()
            for revision in route.revisions
            for url in revision.endpoints
        }
        self._picker.keep_only(urls)
        self.liveness.keep_only(urls)
        for url in [url for url in self._pressures if url not in urls]:
            del self._pressures[url]

    def assign(self, model: str, key: str | None) -> str | None:
        """Choose the revision of a new request; None when no revision has a share.

        Without a key this deals, so call it once per request, not once per attempt.
        """
        dealer = self._dealers.get(model)
        if dealer is None:
            return None
        return dealer.deal() if key is None else by_key(dealer.weights, key)

    def choose(
        self,
        model: str,
        revision: str,
        now: float,
        *,
        tried: Collection[str] = (),
        even_avoided: bool = True,
        prefix: Chain = (),
        is_pinned: bool = False,
    ) -> Target | None:
        """Choose the endpoint of the next attempt.

        A revision without a usable endpoint spills over to the stable one, never to a canary:
        a canary must not get more than its share because stable is in trouble. A revision
        that left the table since the request was assigned counts as one without endpoints.

        Args:
            model: A name; one that left the table has no target.
            revision: What `assign` returned.
            now: Monotonic seconds.
            tried: Endpoints not to go to again.
            even_avoided: When all that is left is known to refuse, try it all the same.
            prefix: The prompt's beginning, for routes that are aware of it.
            is_pinned: A tester named the revision: it and no other, with or without a share.

        Returns:
            None when nothing is left to try.
        """
        route = self.table.models.get(model) if self.table else None
        if route is None:
            return None
        chain = _only(route, revision) if is_pinned else _chain(route, revision)
        for desperate in (False, True) if even_avoided else (False,):
            for candidate in chain:
                url = self._endpoint(route, candidate, now, tried, desperate, prefix)
                if url is not None:
                    return Target(candidate.name, url, desperate, model)
        return None

    def fallbacks(self, model: str) -> fallback.Chain:
        """Return what answers for a model that cannot."""
        return self._chains.get(model, fallback.Chain())

    def fall_back(
        self, model: str, now: float, *, key: str | None, spent: Collection[str]
    ) -> Target | None:
        """Choose where a request goes that `model` cannot answer.

        Args:
            model: What was asked for.
            now: Monotonic seconds.
            key: The conversation, for the split of the model that takes over.
            spent: Names of links not to go to again.

        Returns:
            None when no fallback is left that can be expected to answer.
        """
        for link in self.fallbacks(model).links:
            if link.name in spent:
                continue
            if link.external is not None:
                target = Target("", link.external.url or "", False, model, link)
                if self.guard.admits(target.key, now):
                    return target
            elif link.model is not None and (assigned := self.assign(link.model, key)):
                found = self.choose(link.model, assigned, now, even_avoided=False)
                if found is not None:
                    return replace(found, link=link)
        return None

    def _endpoint(
        self,
        route: ModelRoute,
        revision: Revision,
        now: float,
        tried: Collection[str],
        desperate: bool,
        prefix: Chain,
    ) -> str | None:
        """One endpoint of a revision whose circuit lets the request in."""
        key = (route.name, revision.name)
        if not self.guard.admits(key, now):
            return None
        for url in self.guard.probe_due(key, revision, now):
            if url not in tried:
                return url
        ejected = self.guard.ejected(key, revision, now)
        return self._picker.pick(
            [url for url in revision.endpoints if url not in ejected],
            now,
            tried=tried,
            even_avoided=desperate,
            policy=route.routing.policy,
            prefix=prefix,
            full=[url for url in revision.endpoints if self.is_full(url, now)],
        )

    def is_full(self, url: str, now: float) -> bool:
        """Whether an endpoint has as many requests of this gateway as are answered in time."""
        pressure = self._pressures.get(url)
        limit = pressure.limit(now) if pressure else None
        return limit is not None and self._picker.in_flight(url) >= limit

    def found_full(self, target: Target, now: float) -> None:
        """Learn that a request has to wait for `target`."""
        self._pressure(target.url).met(now)

    def in_flight(self, url: str) -> int:
        """Requests of this gateway begun at an endpoint and not ended."""
        return self._picker.in_flight(url)

    def waiting(self, urls: Collection[str], now: float) -> int | None:
        """Requests that wait in these engines, whoever sent them; None if none of them tells."""
        return self._picker.loads.waiting(urls, now)

    def limits(self, now: float) -> dict[Key, int]:
        """The limits that hold now, by model and revision: the sum over its endpoints."""
        found: dict[Key, int] = {}
        for route in self.table.models.values() if self.table else ():
            for revision in route.revisions:
                known = (self._pressures.get(url) for url in revision.endpoints)
                limits = [limit for each in known if each and (limit := each.limit(now))]
                if limits:
                    found[route.name, revision.name] = sum(limits)
        return found

    def saw(self, target: Target, sample: Sample, now: float) -> None:
        """Learn how long a request waited for its answer to begin."""
        if target.revision:
            self._pressure(target.url).saw(sample, now)

    def _pressure(self, url: str) -> Pressure:
        return self._pressures.setdefault(url, Pressure())

    def begin(self, target: Target, prefix: Chain = ()) -> None:
        """Count `target` as in flight until `end`; `prefix` is what it will have computed."""
        self._picker.begin(target.url, prefix)

    def end(self, target: Target) -> None:
        """Undo `begin`."""
        self._picker.end(target.url)

    def answered(self, target: Target) -> None:
        """Learn from an attempt that was answered."""
        self._picker.forgive(target.url)

    def report(self, target: Target, failure: Failure, now: float) -> None:
        """Learn from a failed attempt."""
        if failure in AVOID_S:
            self._picker.avoid(target.url, now, AVOID_S[failure])

    def loaded(self, url: str, *, waiting: int, running: int, now: float) -> None:
        """Take what the engine at `url` says of its queue."""
        self._picker.loads.report(url, waiting=waiting, running=running, now=now)
        self._pressure(url).told(waiting=waiting, running=running, now=now)


def _weights(route: ModelRoute) -> dict[str, int]:
    return {revision.name: revision.weight for revision in route.serving}


def _chain(route: ModelRoute, revision: str) -> list[Revision]:
    assigned = [item for item in route.serving if item.name == revision]
    stable = [item for item in route.serving if item.role is Role.STABLE and item.name != revision]
    return assigned + stable


def _only(route: ModelRoute, revision: str) -> list[Revision]:
    return [item for item in route.revisions if item.name == revision]
