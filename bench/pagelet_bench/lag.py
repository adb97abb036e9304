"""Measures how far the event loop is behind, while something runs on it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pagelet_bench.core.generator import Generator, observed

INTERVAL_S = 0.010
"""Between two samples: short beside what is measured, and a thousandth of a core."""


class LagMeter:
    """What was seen of the event loop between `began` and now."""

    def __init__(self) -> None:
        self._lags_s: list[float] = []
        self._began_s = time.monotonic()
        self._cpu_began_s = time.process_time()

    async def watch(self) -> None:
        """Take samples until cancelled."""
        while True:
            due_s = time.monotonic() + INTERVAL_S
            await asyncio.sleep(INTERVAL_S)
            self._lags_s.append(max(0.0, time.monotonic() - due_s))

    def read(self) -> Generator:
        """Summarise what was seen so far."""
        return observed(
            self._lags_s,
            cpu_s=time.process_time() - self._cpu_began_s,
            duration_s=time.monotonic() - self._began_s,
        )


@asynccontextmanager
async def measured_lag() -> AsyncIterator[LagMeter]:
    """Watch the running event loop for as long as the context lasts."""
    meter = LagMeter()
    watching = asyncio.create_task(meter.watch())
    try:
        yield meter
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
