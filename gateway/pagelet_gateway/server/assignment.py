"""Decides which revision a request belongs to, and what it is recognised by from then on."""

from dataclasses import dataclass

from pagelet_gateway.core.affinity import Chain, chain
from pagelet_gateway.core.route_table import ModelRoute, Policy, Revision, Stickiness
from pagelet_gateway.core.router import Router
from pagelet_gateway.core.split import conversation
from pagelet_gateway.errors import (
    RevisionDeniedError,
    UnavailableError,
    UnknownRevisionError,
)
from pagelet_gateway.metrics import FALLBACK
from pagelet_gateway.server.exchange import Exchange
from pagelet_gateway.server.peek import Peek, opening


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Where a request belongs."""

    revision: str
    prefix: Chain = ()
    """Its prompt's beginning, on routes that are aware of it."""
    is_pinned: bool = False
    """Whether a tester named the revision; then no other takes over."""


def assign(
    router: Router,
    route: ModelRoute,
    exchange: Exchange,
    seen: Peek,
    *,
    salt: str,
    may_choose: bool,
) -> Assignment:
    """Assign a new request; call it once per request, since it may deal.

    Args:
        router: Knows whose turn it is.
        route: The model's route.
        exchange: Its headers may name a conversation or, by permission, a revision.
        seen: What the body says.
        salt: What separates the engine's caches, such as the tenant's opaque id.
        may_choose: Whether this client may name a revision.

    Raises:
        RevisionDeniedError: It names a revision and may not.
        UnknownRevisionError: It names one that the model does not have.
        UnavailableError: No revision has a share, and there is no fallback.
    """
    prefix: Chain = ()
    if route.routing.policy is Policy.PREFIX_AWARE:
        prefix = chain(seen.prompt, f"{route.name}\0{salt}".encode("utf-8", "surrogatepass"))
    wanted = exchange.headers.get(b"x-pagelet-revision", b"").decode("latin-1")
    if wanted:
        revision = _named(route, wanted, may_choose=may_choose).name
        return Assignment(revision=revision, prefix=prefix, is_pinned=True)
    assigned = router.assign(route.name, _conversation(route, exchange, seen))
    if assigned is None and route.fallback:
        return Assignment(revision=FALLBACK, prefix=prefix)
    if assigned is None:
        raise UnavailableError(
            f"The model {route.name!r} is not ready: none of its revisions serves.",
            retry_after_s=2,
        )
    return Assignment(revision=assigned, prefix=prefix)


def _conversation(route: ModelRoute, exchange: Exchange, seen: Peek) -> str | None:
    sticky = route.routing.stickiness
    named = exchange.headers.get(b"x-pagelet-conversation", b"").decode("latin-1")
    needs_opening = (
        sticky is Stickiness.CONVERSATION
        and len(route.serving) > 1
        and not (named or seen.user)
        and exchange.path == "/v1/chat/completions"
    )
    return conversation(
        sticky,
        named=named,
        user=seen.user,
        opening=opening(seen.prompt) if needs_opening else b"",
    )


def _named(route: ModelRoute, wanted: str, *, may_choose: bool) -> Revision:
    if not may_choose:
        raise RevisionDeniedError(
            "This client may not choose a revision; leave x-pagelet-revision out.",
            param="x-pagelet-revision",
        )
    for revision in route.revisions:
        if revision.name == wanted:
            return revision
    names = ", ".join(revision.name for revision in route.revisions)
    raise UnknownRevisionError(
        f"The model {route.name!r} has no revision {wanted[:200]!r}; it has: {names}.",
        param="x-pagelet-revision",
    )
