"""How many gateways are live, for the share of a quota that each may give out."""

import asyncio
import socket

import structlog

log = structlog.get_logger("pagelet.gateway")

LOOK_EVERY_S = 5.0
"""A headless Service's record lives 5 to 30 s; asking more often brings nothing newer."""


class Replicas:
    """A fixed number, or the addresses behind a name such as a headless Service's."""

    def __init__(self, fixed: int, name: str | None) -> None:
        """Start with `fixed`, which also counts until `name` is first resolved."""
        self._count = fixed
        self._name = name
        self._trouble: str | None = None

    def count(self) -> int:
        """Return how many are live as of the last look, at least 1."""
        return self._count

    async def run(self) -> None:
        """Look the name up again and again until cancelled; returns at once without one."""
        while self._name is not None:
            await self.look(self._name)
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self, name: str) -> None:
        """Count the addresses behind `name`; when it cannot be resolved, the last count stays."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except OSError as error:
            self._report(str(error))
            return
        self._report(None)
        count = max(1, len({address[0] for *_, address in found}))
        if count != self._count:
            log.info("replicas counted", replicas=count, before=self._count)
            self._count = count

    def _report(self, trouble: str | None) -> None:
        if trouble is not None and self._trouble is None:
            log.warning("replicas cannot be counted", name=self._name, reason=trouble)
        self._trouble = trouble
