"""What answers for a model that cannot: other models of the table, then APIs elsewhere.

A fallback model brings its own split, breaker and caps, and its own fallbacks come after it.
Tables are written by people, so a chain may lead back to where it began; it is followed once
around at most, and whoever wrote it is told.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pagelet_gateway.core.route_table import Fallback, RouteTable

MAX_LINKS = 8
"""Longest chain that is followed; each link may cost a first byte's time."""

MAX_HOPS = 3
"""Gateways a request may pass through. A fallback elsewhere may be another gateway, whose own
fallback is this one; no table shows that."""


@dataclass(frozen=True, slots=True)
class Link:
    """One fallback: exactly one of `model` and `external` is set."""

    name: str
    """What the answer's header x-pagelet-fallback says."""
    model: str | None = None
    external: Fallback | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """All fallbacks of a model, in the order in which they are tried."""

    links: tuple[Link, ...] = ()
    loop: tuple[str, ...] = ()
    """Models that lead back to the first of them; empty when none does."""
    unknown: tuple[str, ...] = ()
    """Models that are named and have no route."""


def chain_of(table: RouteTable, model: str) -> Chain:
    """Follow the fallbacks of `model`, depth first, each only once."""
    links: dict[str, Link] = {}
    loops: list[tuple[str, ...]] = []
    unknown: list[str] = []
    for path, item in _walk(table, (model,)):
        if item.model is None:
            key, link = f"{item.url} {item.url_model}", Link(item.url_model or "", external=item)
        else:
            key, link = item.model, Link(item.model, model=item.model)
        if item.model in path:
            loops.append((*path[path.index(item.model) :], item.model))
        elif item.model is not None and item.model not in table.models:
            unknown.append(item.model)
        elif len(links) < MAX_LINKS:
            links.setdefault(key, link)
    return Chain(tuple(links.values()), loops[0] if loops else (), tuple(unknown))


def hops(header: str | None) -> int | None:
    """How many gateways a request has passed, from its header x-pagelet-hops.

    Anybody may send it: it can only make a request be refused earlier.

    Returns:
        0 without a header; None for what no gateway writes.
    """
    if header is None:
        return 0
    return int(header) if header.isascii() and header.isdigit() and len(header) < 3 else None


def _walk(table: RouteTable, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Fallback]]:
    route = table.models.get(path[-1])
    for item in route.fallback if route else ():
        yield path, item
        if item.model is not None and item.model not in path and len(path) <= MAX_LINKS:
            yield from _walk(table, (*path, item.model))
