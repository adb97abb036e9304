"""Is a child ready? Asked over HTTP, as a kubelet would."""

from enum import Enum
from typing import Protocol

import aiohttp

TIMEOUT_S = 2.0
"""A probe without an answer for longer counts as silence."""


class Answer(Enum):
    """What a probe found."""

    READY = "ready"
    NOT_READY = "not ready"
    """It answers, and says that it is not ready."""
    SILENT = "silent"
    """It does not answer: not listening yet, too busy, or stuck."""


class Probe(Protocol):
    """Asks one URL whether what listens there is ready; never raises for a bad answer."""

    async def __call__(self, url: str) -> Answer:
        """Return what `url` answers."""
        ...


class HttpProbe:
    """GET; 2xx is ready. Use as an async context manager."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "HttpProbe":
        # A new connection each time: a listener that takes none must not look ready.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def __call__(self, url: str) -> Answer:
        """Return what `url` answers."""
        assert self._session is not None, "used outside `async with`"
        try:
            async with self._session.get(url) as response:
                return Answer.READY if response.ok else Answer.NOT_READY
        except (aiohttp.ClientError, TimeoutError, OSError):
            return Answer.SILENT
