"""Which failed attempts may be made again, before the client has seen a byte.

After the first byte nothing is retried: the client holds half an answer and a second engine
would continue another one.
"""

from dataclasses import dataclass
from enum import StrEnum


class Failure(StrEnum):
    """How an attempt failed before the first byte."""

    REFUSED = "refused"
    """No connection; the engine has seen nothing."""
    DRAINING = "draining"
    """The engine said that it is going away; it has done nothing."""
    RESET = "reset"
    """The connection ended without an answer; the engine may have begun."""
    PROTOCOL = "protocol"
    """The answer is not HTTP; another attempt would meet the same."""
    BUSY = "busy"
    """503 with Retry-After, or 429 from elsewhere: overloaded, not broken."""
    ERROR = "error"
    """An answer that says that the engine failed."""
    SLOW = "slow"
    """No first byte in the share of the time that one attempt may take."""


BREAKING = frozenset(
    {Failure.REFUSED, Failure.RESET, Failure.PROTOCOL, Failure.ERROR, Failure.SLOW}
)
"""Failures that count against an endpoint and its revision. One that drains or has too much to
do is sound, and says so."""

FIRST_BYTE_SHARE = 0.5
"""How much of its remaining time a request waits for one attempt's first byte while there is
somewhere else to go; what follows has the rest."""

REFUSALS = frozenset({Failure.REFUSED, Failure.DRAINING})
"""Failures that cost no engine any work."""

AVOID_S = {Failure.REFUSED: 1.0, Failure.DRAINING: 5.0, Failure.BUSY: 1.0}
"""How long an endpoint is left alone after its first refusal. A refused connection may be a
restart that ends any moment; a draining engine does not come back, and the next table will
not name it."""


@dataclass(slots=True)
class RetryBudget:
    """Keeps retries from multiplying an outage: at most a share of all requests, plus a floor.

    In any time span retries number at most `burst + ratio * requests + floor_per_s * seconds`.
    Values follow the usual practice of service meshes (20 %, and a floor so that a quiet
    service may retry at all).
    """

    ratio: float = 0.2
    floor_per_s: float = 1.0
    burst: float = 10.0
    _balance: float = 10.0
    _seen_at: float | None = None

    def deposit(self, now: float) -> None:
        """Count one request."""
        self._accrue(now)
        self._balance = min(self.burst, self._balance + self.ratio)

    def has_left(self, now: float) -> bool:
        """Whether `withdraw` would allow a retry."""
        self._accrue(now)
        return self._balance >= 1.0

    def withdraw(self, now: float) -> bool:
        """Take one retry; False when the budget is used up."""
        self._accrue(now)
        if self._balance < 1.0:
            return False
        self._balance -= 1.0
        return True

    def _accrue(self, now: float) -> None:
        elapsed_s = max(0.0, now - self._seen_at) if self._seen_at is not None else 0.0
        self._balance = min(self.burst, self._balance + elapsed_s * self.floor_per_s)
        self._seen_at = now


def may_retry(
    failure: Failure, *, attempts: int, max_attempts: int, budget: RetryBudget, now: float
) -> bool:
    """Decide whether another attempt is allowed, and pay for it.

    Refusals are free: they did no work, `max_attempts` bounds them, and the endpoint is
    avoided from then on. Whatever else fails may have cost an engine a prefill, so it draws on
    the budget.
    """
    if attempts >= max_attempts:
        return False
    return failure in REFUSALS or budget.withdraw(now)
