"""How much may be used per minute and at once: one decision over all limits a request falls under.

A request is admitted when every limit leaves room, and then charged to all of them at once; so a
refusal by one costs nothing of the others. Tokens are charged as an estimate and settled when
the answer ends: what was too much goes back to the second it was charged in, what was too little
is charged to the second it became known.

    admit ── Ticket ──► settle(tokens used), exactly once, however the request ends
          └─ Refused, with the seconds after which asking again makes sense
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pagelet_gateway.core.meter import Meter, Part
from pagelet_gateway.core.route_table import Quota

BUSY_RETRY_S = 1.0
"""When something ends is unknown, so a client that found no free place asks again soon."""


class Limit(StrEnum):
    """What ran out; the value is the error code."""

    CONCURRENT = "too_many_concurrent_requests"
    REQUESTS = "rate_limit_exceeded"
    TOKENS = "token_rate_limit_exceeded"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a quota holds for."""

    key: tuple[str, ...]
    """("model", MODEL), ("tenant", MODEL, TENANT) or ("revision", MODEL, REVISION)."""
    quota: Quota


@dataclass(frozen=True, slots=True)
class Standing:
    """How one limit stands, for x-ratelimit-* headers."""

    limit: int
    """As the table says, for all replicas together."""
    remaining: int
    reset_s: float
    """Until all of it is free again if nobody uses more."""


@dataclass(frozen=True, slots=True)
class Standings:
    """What a client is told of its limits; None where there is none."""

    requests: Standing | None = None
    tokens: Standing | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Why not, and when to ask again."""

    scope: Scope
    limit: Limit
    allowed: int
    retry_after_s: float
    standings: Standings


@dataclass(slots=True)
class Account:
    """What is used of one scope."""

    in_flight: int = 0
    requests: Meter = field(default_factory=Meter)
    tokens: Meter = field(default_factory=Meter)

    def is_idle(self, now: float) -> bool:
        """Whether a new account would be the same."""
        return not self.in_flight and self.requests.is_idle(now) and self.tokens.is_idle(now)


@dataclass(slots=True, eq=False)
class Ticket:
    """A request that was admitted and not yet settled."""

    charged_at: float
    tokens: int
    """The estimate."""
    accounts: tuple[Account, ...]
    standings: Standings
    is_open: bool = True


class Ledger:
    """All accounts of one gateway."""

    def __init__(self) -> None:
        self._accounts: dict[tuple[str, ...], Account] = {}

    def admit(
        self, now: float, scopes: Sequence[Scope], tokens: int, *, shares: int = 1
    ) -> Ticket | Refused:
        """Admit a request under all of `scopes`, or under none.

        Args:
            now: Monotonic seconds.
            scopes: The first is the one a client is told of.
            tokens: The estimate. One above a limit counts as the whole limit, so that no
                request is refused for ever.
            shares: Replicas that share every limit evenly; each has at least 1 request at once.
        """
        accounts = tuple(self._account(scope.key) for scope in scopes)
        for scope, account in zip(scopes, accounts, strict=True):
            refused = _refusal(now, scope, account, tokens, shares)
            if refused is not None:
                limit, allowed, wait_s = refused
                seen = _standings(now, scopes[0], accounts[0], shares)
                return Refused(scope, limit, allowed, wait_s, seen)
        for scope, account in zip(scopes, accounts, strict=True):
            account.in_flight += 1
            account.requests.add(now, 1, _part(scope.quota.requests_per_minute, shares))
            account.tokens.add(now, tokens, _part(scope.quota.tokens_per_minute, shares))
        seen = _standings(now, scopes[0], accounts[0], shares) if scopes else Standings()
        return Ticket(now, tokens, accounts, seen)

    def settle(self, now: float, ticket: Ticket, tokens: int) -> None:
        """End an admitted request, charged with the tokens it really used; again does nothing."""
        if not ticket.is_open:
            return
        ticket.is_open = False
        for account in ticket.accounts:
            account.in_flight -= 1
            if tokens > ticket.tokens:
                account.tokens.add(now, tokens - ticket.tokens)
            else:
                account.tokens.refund(ticket.charged_at, now, ticket.tokens - tokens)

    def _account(self, key: tuple[str, ...]) -> Account:
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = Account()
        return account

    def in_flight(self, key: tuple[str, ...]) -> int:
        """Return how many tickets of a scope are open."""
        account = self._accounts.get(key)
        return account.in_flight if account else 0

    def keep_only(self, now: float, keys: Container[tuple[str, ...]]) -> None:
        """Forget scopes that left the table, once nothing of them is in flight or counts.

        A model that is missing from one table and back in the next finds its accounts as they were.
        """
        gone = [
            key
            for key, account in self._accounts.items()
            if key not in keys and account.is_idle(now)
        ]
        for key in gone:
            del self._accounts[key]


def share(limit: int, shares: int) -> int:
    """Return one replica's part of a limit of requests at once."""
    return max(1, limit // shares)


def _part(limit: int | None, shares: int) -> Part | None:
    return None if limit is None else Part(limit, shares)


def _refusal(
    now: float, scope: Scope, account: Account, tokens: int, shares: int
) -> tuple[Limit, int, float] | None:
    quota = scope.quota
    most = quota.max_concurrent_requests
    if most is not None and account.in_flight >= share(most, shares):
        return Limit.CONCURRENT, most, BUSY_RETRY_S
    for limit, kind, meter, amount in (
        (quota.requests_per_minute, Limit.REQUESTS, account.requests, 1),
        (quota.tokens_per_minute, Limit.TOKENS, account.tokens, tokens),
    ):
        if limit is not None and amount > 0:
            wait_s = meter.free_in(now, Part(limit, shares), amount)
            if wait_s > 0:
                return kind, limit, wait_s
    return None


def _standings(now: float, scope: Scope, account: Account, shares: int) -> Standings:
    quota = scope.quota
    return Standings(
        requests=_standing(now, quota.requests_per_minute, account.requests, shares),
        tokens=_standing(now, quota.tokens_per_minute, account.tokens, shares),
    )


def _standing(now: float, limit: int | None, meter: Meter, shares: int) -> Standing | None:
    if limit is None:
        return None
    left = meter.left(now, Part(limit, shares)) * shares
    return Standing(limit, min(limit, left), meter.reset_in(now))
