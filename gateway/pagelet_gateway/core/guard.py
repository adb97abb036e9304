"""Every circuit of a gateway: of revisions, of their endpoints, of APIs elsewhere.

A revision's circuit judges what is left after retries: a request that one endpoint failed and
another answered is a success of the revision and a failure of the endpoint. What one endpoint's
crash takes along counts once for the revision, however many requests were there.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pagelet_gateway.core.breaker import Breaker, State, Ticket
from pagelet_gateway.core.outlier import Outliers
from pagelet_gateway.core.route_table import BreakerPolicy, Fallback, Revision, RouteTable

Key = tuple[str, str]
"""Model and revision; an external API's model is empty."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A request inside one circuit; exactly one of its methods but `answered` must end it."""

    breaker: Breaker
    ticket: Ticket

    def answered(self, now: float) -> None:
        """The first byte is here."""
        self.breaker.answered(self.ticket, now)

    def succeed(self, now: float) -> None:
        """It was answered to its end."""
        self.breaker.succeed(self.ticket, now)

    def fail(self, now: float, *, cause: str | None = None) -> None:
        """It failed; `cause` as in `Breaker.fail`."""
        self.breaker.fail(self.ticket, now, cause=cause)

    def release(self) -> None:
        """It ended in a way that says nothing."""
        self.breaker.release(self.ticket)


class Guard:
    """Knows what is broken. Times are monotonic seconds."""

    def __init__(self, seed: str) -> None:
        """Make a guard in which nothing is broken.

        Args:
            seed: What open times are jittered by; another one for each gateway.
        """
        self._seed = seed
        self._circuits: dict[Key, Breaker] = {}
        self._outliers: dict[Key, Outliers] = {}
        self._endpoints: dict[Key, tuple[str, ...]] = {}

    def apply(self, table: RouteTable) -> None:
        """Take a table's policies; what left it is forgotten.

        A revision with a new endpoint starts anew: what failed was the others.
        """
        before, self._endpoints = self._endpoints, {}
        for route in table.models.values():
            for revision in route.revisions:
                key = (route.name, revision.name)
                self._endpoints[key] = revision.endpoints
                if set(revision.endpoints) - set(before.get(key, ())):
                    self._circuits.pop(key, None)
                self._keep(key, route.breaker, revision.endpoints)
        for key in [key for key in self._outliers if key not in self._endpoints]:
            self._circuits.pop(key, None)
            del self._outliers[key]
        self._keep_externals(table)

    def admits(self, key: Key, now: float) -> bool:
        """Whether the circuit of a revision lets the next request in."""
        circuit = self._circuits.get(key)
        return circuit is None or circuit.admits(now)

    def opens_in_s(self, key: Key, now: float) -> float:
        """Seconds until the circuit of a revision lets a request in."""
        circuit = self._circuits.get(key)
        return 0.0 if circuit is None else circuit.opens_in_s(now)

    def enter_circuit(self, key: Key, now: float, deadline: float) -> Entry:
        """Count a request into a revision's circuit."""
        circuit = self._circuits.get(key)
        # A revision that left the table meanwhile ends its requests unjudged.
        return _enter(circuit or Breaker(BreakerPolicy(), self._seed), now, deadline)

    def enter_endpoint(self, key: Key, url: str, now: float, deadline: float) -> Entry:
        """Count an attempt into an endpoint's circuit."""
        return _enter(self._of(key).breaker(url), now, deadline)

    def ejected(self, key: Key, revision: Revision, now: float) -> frozenset[str]:
        """Endpoints to leave alone."""
        outliers = self._outliers.get(key)
        return outliers.ejected(revision.endpoints, now) if outliers else frozenset()

    def probe_due(self, key: Key, revision: Revision, now: float) -> list[str]:
        """Endpoints that the next request should try."""
        outliers = self._outliers.get(key)
        return outliers.probe_due(revision.endpoints, now) if outliers else []

    def saw_first_token(self, key: Key, url: str, after_s: float, now: float) -> None:
        """Take how long an endpoint took for a stream's first byte."""
        self._of(key).saw_first_token(url, after_s, now)

    def states(self, now: float) -> Iterator[tuple[Key, State, int]]:
        """Each revision's circuit and how many of its endpoints are ejected."""
        for key in self._endpoints:
            yield (key, *self.state_of(key, now))

    def state_of(self, key: Key, now: float) -> tuple[State, int]:
        """A revision's circuit and how many of its endpoints are ejected."""
        circuit, outliers = self._circuits.get(key), self._outliers.get(key)
        return (
            circuit.state(now) if circuit else State.CLOSED,
            len(outliers.ejected(self._endpoints.get(key, ()), now)) if outliers else 0,
        )

    def _keep(self, key: Key, policy: BreakerPolicy, endpoints: tuple[str, ...]) -> None:
        outliers = self._outliers.get(key)
        if outliers is None or outliers.policy != policy:
            self._outliers[key] = Outliers(policy, f"{self._seed} {key}")
            self._circuits.pop(key, None)
        else:
            outliers.keep_only(endpoints)
        self._make(key, policy)

    def _keep_externals(self, table: RouteTable) -> None:
        wanted = {
            external_key(item): route.breaker
            for route in table.models.values()
            for item in route.fallback
            if item.url is not None
        }
        for key in [key for key in self._circuits if not key[0] and key not in wanted]:
            del self._circuits[key]
        for key, policy in wanted.items():
            self._make(key, policy)

    def _make(self, key: Key, policy: BreakerPolicy) -> None:
        if key not in self._circuits or self._circuits[key].policy != policy:
            self._circuits[key] = Breaker(policy, f"{self._seed} {key}")

    def _of(self, key: Key) -> Outliers:
        found = self._outliers.get(key)
        return found if found is not None else Outliers(BreakerPolicy(), self._seed)


def external_key(item: Fallback) -> Key:
    """The circuit of an API elsewhere; models have names, so no revision has the same."""
    return "", f"{item.url} {item.url_model}"


def _enter(breaker: Breaker, now: float, deadline: float) -> Entry:
    return Entry(breaker, breaker.enter(now, deadline))
