"""What a client hears when nothing answers its request."""

import math
from typing import NoReturn

from pagelet_gateway.core.fallback import MAX_HOPS, hops
from pagelet_gateway.core.retry import Failure
from pagelet_gateway.core.router import Router
from pagelet_gateway.errors import (
    BadUpstreamError,
    FallbackLoopError,
    RequestError,
    UnavailableError,
    UpstreamTimeoutError,
)
from pagelet_gateway.metrics import FALLBACK, Outcome
from pagelet_gateway.server.call import Call
from pagelet_gateway.server.elsewhere import HOPS


def check_hops(call: Call) -> None:
    """Count the gateways a request has passed; sets `call.num_hops`.

    Raises:
        RequestError: The header is nothing that a gateway writes.
        FallbackLoopError: They are too many, so it is going round in circles.
    """
    header = call.exchange.headers.get(HOPS.encode())
    text = None if header is None else header.decode("latin-1")
    passed = hops(text)
    if passed is None:
        call.outcome = Outcome.CLIENT_ERROR
        raise RequestError(
            f"The header {HOPS} is {(text or '')[:40]!r}, which is no number from 0 to 99; "
            f"gateways write it, leave it out."
        )
    if passed >= MAX_HOPS:
        call.outcome = Outcome.UNAVAILABLE
        raise FallbackLoopError(
            f"The request has passed {MAX_HOPS} gateways; their fallbacks lead back to each other."
        )
    call.num_hops = passed


def give_up(call: Call, router: Router, now: float) -> NoReturn:
    """End a request that nothing is left for.

    Raises:
        RefusalError: Always; which one says what was met last.
    """
    call.outcome = Outcome.UNAVAILABLE
    if call.failure is Failure.PROTOCOL:
        call.outcome = Outcome.UPSTREAM_ERROR
        raise BadUpstreamError("The engine's answer is not valid HTTP.")
    if call.failure is Failure.SLOW:
        call.outcome = Outcome.TIMEOUT
        raise UpstreamTimeoutError("No engine began an answer in the time it had.")
    also = _of_fallbacks(call, router)
    closed_s = router.guard.opens_in_s((call.model, call.dealt_to), now)
    if not call.attempts and closed_s > 0:
        raise UnavailableError(
            f"The engines of model {call.model!r} failed too often and are left alone for a "
            f"while; try again.{also}",
            code="circuit_open",
            retry_after_s=math.ceil(closed_s),
        )
    if call.dealt_to == FALLBACK:
        raise UnavailableError(
            f"The model {call.model!r} is not ready: none of its revisions serves.{also}",
            retry_after_s=2,
        )
    raise UnavailableError(
        f"No engine of model {call.model!r} takes requests right now; try again.{also}",
        retry_after_s=1,
    )


def _of_fallbacks(call: Call, router: Router) -> str:
    """What to say of fallbacks that cannot help, without names: the key may not see those."""
    chain = router.fallbacks(call.model)
    if chain.loop:
        return " Its fallbacks lead back to each other."
    return " One of its fallbacks names no model." if chain.unknown else ""
