"""Whether this server takes work: starting, serving, draining, broken. One place decides.

    starting ──Ready and a warm-up token──► serving ──SIGTERM──► draining ──► exit 0
        │  ▲                                   │
        │  └──────── by policy ─────────┐      │
        └──────────── engine ended ─────┴──────┴──► broken ──► exit 1 (2: configuration)

`admit` counts requests in flight, so draining knows when it is done and the queue has an end.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from enum import StrEnum

from pagelet_engine.server.errors import RefusedError


class Phase(StrEnum):
    """What this server is doing."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    BROKEN = "broken"


class Lifecycle:
    """The server's phase and the requests in flight."""

    def __init__(self, *, max_requests: int) -> None:
        """Start in STARTING.

        Args:
            max_requests: Most requests in flight, running and waiting together.
        """
        self.phase = Phase.STARTING
        self._max_requests = max_requests
        self._num_in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def num_in_flight(self) -> int:
        """Requests being answered."""
        return self._num_in_flight

    def serve(self) -> None:
        """Take requests from now on, unless the end has begun."""
        if self.phase is Phase.STARTING:
            self.phase = Phase.SERVING

    def drain(self) -> None:
        """Refuse new requests from now on; those in flight go on."""
        if self.phase is not Phase.BROKEN:
            self.phase = Phase.DRAINING

    def fail(self) -> None:
        """The engine is gone."""
        self.phase = Phase.BROKEN

    def restart(self) -> None:
        """Another engine process is being started in place of the one that is gone."""
        assert self.phase is Phase.BROKEN, "only what has failed starts again"
        self.phase = Phase.STARTING

    async def wait_idle(self) -> None:
        """Wait until no request is in flight."""
        await self._idle.wait()

    @contextlib.contextmanager
    def admit(self) -> Iterator[None]:
        """Count one request in flight for as long as the block lasts.

        Raises:
            RefusedError: 503 not serving, 429 too many requests in flight.
        """
        self._check()
        self._num_in_flight += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._num_in_flight -= 1
            if not self._num_in_flight:
                self._idle.set()

    def _check(self) -> None:
        match self.phase:
            case Phase.STARTING:
                raise RefusedError(
                    "The model is still loading.",
                    status=503,
                    code="server_starting",
                    retry_after_s=2,
                )
            case Phase.DRAINING:
                raise RefusedError(
                    "This server is shutting down; send the request again.",
                    status=503,
                    code="server_draining",
                    draining=True,
                )
            case Phase.BROKEN:
                raise RefusedError(
                    "The engine has failed; this server is about to exit.",
                    status=503,
                    code="service_unavailable",
                    draining=True,
                )
            case Phase.SERVING if self._num_in_flight >= self._max_requests:
                raise queue_full()


def queue_full() -> RefusedError:
    """Return the refusal for a full queue."""
    return RefusedError(
        "Too many requests are waiting; try again later.",
        status=429,
        code="rate_limit_exceeded",
        retry_after_s=2,
    )
