"""Where quotas are kept: the interface, and the accounts of this gateway alone."""

import time
from collections.abc import Callable, Container, Sequence
from typing import Protocol

from pagelet_gateway.core.quota import Ledger, Refused, Scope, Standings, Ticket


class Grant(Protocol):
    """A request that was admitted; give it to `Quotas.settle` when it ends."""

    @property
    def tokens(self) -> int:
        """The estimate it was charged."""
        ...

    @property
    def standings(self) -> Standings:
        """How the first scope stands, this request counted."""
        ...


class Quotas(Protocol):
    """Keeps the accounts. Whoever implements it never raises: losing a store is no refusal
    unless it is configured to be."""

    async def admit(self, scopes: Sequence[Scope], tokens: int, lease_s: float) -> Grant | Refused:
        """Charge a request to all scopes or to none; after `lease_s` it cannot be in flight."""
        ...

    def settle(self, grant: Grant, tokens: int) -> None:
        """End a request with the tokens it used; again does nothing. Does not wait."""
        ...

    def keep_only(self, keys: Container[tuple[str, ...]]) -> None:
        """Forget scopes that left the table."""
        ...


class LocalQuotas:
    """An even share of every quota for each live replica.

    It holds as long as requests are balanced evenly. Quotas per minute hold exactly in the long
    run, however small; of requests at once each replica has at least one. Fewer places than
    replicas, and uneven balancing, need a common store.
    """

    def __init__(self, replicas: Callable[[], int]) -> None:
        """Start with empty accounts.

        Args:
            replicas: How many gateways are live, this one included; asked at each decision.
        """
        self._replicas = replicas
        self._ledger = Ledger()

    async def admit(self, scopes: Sequence[Scope], tokens: int, lease_s: float) -> Ticket | Refused:
        """Decide at once."""
        return self._ledger.admit(time.monotonic(), scopes, tokens, shares=self._replicas())

    def settle(self, grant: Grant, tokens: int) -> None:
        """End a request."""
        assert isinstance(grant, Ticket), "only tickets of this ledger come back"
        self._ledger.settle(time.monotonic(), grant, tokens)

    def keep_only(self, keys: Container[tuple[str, ...]]) -> None:
        """Forget scopes that left the table."""
        self._ledger.keep_only(time.monotonic(), keys)
