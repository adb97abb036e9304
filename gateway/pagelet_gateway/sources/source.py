"""What a source of route tables is."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pagelet_gateway.core.route_table import RouteTable

Sink = Callable[[bytes | Mapping[str, Any] | RouteTable], bool]
"""Takes a table as JSON, an object or as read; True when it is obeyed. `LiveTable.offer` is one."""


class Source(Protocol):
    """Delivers every new table to the sink it was made with.

    Whoever implements it delivers whole tables, in order, and outlives trouble: a source
    that cannot be read says so in the log and tries again; the sink keeps the last good table.
    """

    async def run(self) -> None:
        """Deliver until cancelled."""
        ...
