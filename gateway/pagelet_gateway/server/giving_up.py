"""What a client hears when nothing answers its request."""

import math
from typing import NoReturn

from pagelet_gateway.core.fallback import MAX_HOPS, hops
from pagelet_gateway.core.retry import Failure
from pagelet_gateway.core.router import Router
from pagelet_gateway.errors import (
    BadUpstreamError,
    FallbackLoopError,
    UnavailableError,
    UpstreamTimeoutError,
)
from pagelet_gateway.metrics import Outcome
from pagelet_gateway.server.call import Call
from pagelet_gateway.server.elsewhere import HOPS


def check_hops(call: Call) -> None:
    """Count the gateways a request has passed; sets `call.num_hops`.

    Raises:
        FallbackLoopError: They are too many, so it is going round in circles.
    """
    header = call.exchange.headers.get(HOPS.encode())
    passed = hops(None if header is None else header.decode("latin-1"))
    if passed is None or passed >= MAX_HOPS:
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
    loop = router.fallbacks(call.model).loop
    if loop:
        raise UnavailableError(
            f"No engine of model {call.model!r} takes requests right now, and its fallbacks "
            f"form a loop: {' → '.join(loop)}.",
            code="fallback_loop",
            retry_after_s=1,
        )
    closed_s = router.guard.opens_in_s((call.model, call.dealt_to), now)
    if not call.attempts and closed_s > 0:
        raise UnavailableError(
            f"The engines of model {call.model!r} failed too often and are left alone for a "
            f"while; try again.",
            code="circuit_open",
            retry_after_s=math.ceil(closed_s),
        )
    raise UnavailableError(
        f"No engine of model {call.model!r} takes requests right now; try again.",
        retry_after_s=1,
    )
