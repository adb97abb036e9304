"""Which failed attempts may be made again, before the client has seen a byte.

After the first byte nothing is retried: the client holds half an answer and a second engine
would continue another one.
"""

from dataclasses import dataclass
from enum import StrEnum


class Failure(StrEnum):
    """How an attempt failed before the first byte."""

    REFUSED = "refused"
    """No connection, and that at once; the engine has seen nothing."""
    UNREACHABLE = "unreachable"
    """No connection in the time one may take; the engine has seen nothing."""
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
    {Failure.UNREACHABLE, Failure.RESET, Failure.PROTOCOL, Failure.ERROR, Failure.SLOW}
)
"""Failures that count against an endpoint and its revision. One that drains or has too much to
do is sound, and says so. A refused connection costs nobody anything and often is a restart that
ends any moment: `AVOID_S` is enough, and a circuit would keep the engine closed long after."""

INCIDENTS = frozenset({Failure.UNREACHABLE, Failure.RESET, Failure.SLOW})
"""Failures that one crash or stall of an endpoint brings to all who are there; an answer that says
that the engine failed is each request's own."""

FIRST_BYTE_SHARE = 0.5
"""How much of its remaining time a request waits for one attempt's first byte while there is
somewhere else to go; what follows has the rest."""

REFUSALS = frozenset({Failure.REFUSED, Failure.UNREACHABLE, Failure.DRAINING})
"""Failures that cost no engine any work."""

AVOID_S = {
    Failure.REFUSED: 1.0,
    Failure.UNREACHABLE: 1.0,
    Failure.DRAINING: 5.0,
    Failure.BUSY: 1.0,
}
"""How long an endpoint is left alone after its first refusal. A refused connection may be a
restart that ends any moment; a draining engine does not come back, and the next table will
not name it."""


@dataclass(slots=True)
class RetryBudget:
    """Keeps retries from multiplying an outage: a share of all requests, and a few at once.

    Of any n requests in a row at most `burst + ratio * n` are made again, however much or little
    time they take: with the defaults at most a fifth wherever n is 50 or more. Time alone earns
    nothing, since at a low rate that would allow a retry of every request.
    """

    ratio: float = 0.1
    burst: float = 5.0
    """As many as an endpoint may fail in a row before its circuit opens (`consecutiveErrors`), so
    that one broken endpoint costs no request."""
    _balance: float = 5.0

    def deposit(self) -> None:
        """Count one request."""
        self._balance = min(self.burst, self._balance + self.ratio)

    def has_left(self) -> bool:
        """Whether `withdraw` would allow a retry."""
        return self._balance >= 1.0 - _ROUNDING

    def withdraw(self) -> bool:
        """Take one retry; False when the budget is used up."""
        if not self.has_left():
            return False
        self._balance = max(0.0, self._balance - 1.0)
        return True


_ROUNDING = 1e-9
"""Ten tenths are no whole in binary."""


def may_retry(failure: Failure, *, attempts: int, max_attempts: int, budget: RetryBudget) -> bool:
    """Decide whether another attempt is allowed, and pay for it.

    Refusals are free: they did no work, `max_attempts` bounds them, and the endpoint is
    avoided from then on. One that was given up as too slow has been paid for by then. Whatever
    else fails may have cost an engine a prefill, so it draws on the budget.
    """
    if attempts >= max_attempts:
        return False
    return failure in REFUSALS or failure is Failure.SLOW or budget.withdraw()
