"""Asks engines how busy they are, a few times a second.

Routing goes by it where there is a choice (`core.load`), and overload is told from long answers
(`core.pressure`). One that gives no usable answer is asked less often; then what this gateway
itself has in flight, and how long answers take, have to do.
"""

import asyncio
import random
import time
from dataclasses import dataclass, field
from functools import partial

import aiohttp
import structlog
from yarl import URL

from pagelet_gateway.core.load_report import LoadReport, parse
from pagelet_gateway.core.router import Router
from pagelet_gateway.metrics import Metrics

log = structlog.get_logger("pagelet.gateway")

INTERVAL_S = 0.4
"""Mean time between two questions to one engine; each answer costs it a few milliseconds."""

TIMEOUT_S = 1.0
REST_S = 5.0
"""How long an engine without a usable answer is left alone."""

MAX_CONCURRENT = 32
MAX_BYTES = 2 * 1024 * 1024
"""Largest exposition that is read."""


class _UselessError(Exception):
    """The answer does not tell the load; the message says why."""


@dataclass(slots=True)
class LoadWatch:
    """Keeps the router informed; belongs to the event loop's thread."""

    router: Router
    metrics: Metrics
    session: aiohttp.ClientSession
    interval_s: float = INTERVAL_S
    _rests_until: dict[str, float] = field(default_factory=dict)
    _asking: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def run(self) -> None:
        """Ask until cancelled."""
        try:
            while True:
                self._ask_all()
                # Jitter: several gateways that started together must not ask together.
                await asyncio.sleep(self.interval_s * random.uniform(0.75, 1.25))  # noqa: S311
        finally:
            for task in list(self._asking.values()):
                task.cancel()

    def _ask_all(self) -> None:
        now, wanted = time.monotonic(), self._wanted()
        for url in [url for url in self._rests_until if url not in wanted]:
            del self._rests_until[url]
        for url, (place, key) in wanted.items():
            if len(self._asking) >= MAX_CONCURRENT:
                return
            if url not in self._asking and self._rests_until.get(url, now) <= now:
                task = asyncio.create_task(self._ask(url, place, key))
                self._asking[url] = task
                task.add_done_callback(partial(self._forget, url))

    def _wanted(self) -> dict[str, tuple[str, str | None]]:
        """Endpoints of revisions with a share: where their metrics are, and the key for them."""
        table = self.router.table
        models = table.models.values() if table else ()
        wanted = {
            url: (revision.metrics_urls.get(url, url), route.gateway_key)
            for route in models
            for revision in route.serving
            for url in revision.endpoints
        }
        urls = list(wanted)
        random.shuffle(urls)  # beyond the limit everyone gets its turn
        return {url: wanted[url] for url in urls}

    async def _ask(self, url: str, place: str, key: str | None) -> None:
        try:
            report = await self._read(place, key)
        except (aiohttp.ClientError, OSError, TimeoutError, _UselessError) as error:
            self._note_failure(url, str(error) or type(error).__name__)
            return
        self._rests_until.pop(url, None)
        self.metrics.load_reports.labels("ok").inc()
        self.router.loaded(
            url, waiting=report.waiting, running=report.running, now=time.monotonic()
        )

    def _forget(self, url: str, _: "asyncio.Task[None]") -> None:
        self._asking.pop(url, None)

    async def _read(self, place: str, key: str | None) -> LoadReport:
        headers = {"x-pagelet-gateway-key": key} if key else {}
        async with (
            asyncio.timeout(TIMEOUT_S),
            self.session.get(
                URL(f"{place}/metrics", encoded=True), headers=headers, allow_redirects=False
            ) as response,
        ):
            if response.status != 200:
                raise _UselessError(f"GET /metrics answered {response.status}")
            text = b""
            async for part in response.content.iter_any():
                text += part
                if len(text) > MAX_BYTES:
                    raise _UselessError(f"GET /metrics is larger than {MAX_BYTES} bytes")
        report = parse(text)
        if report is None:
            raise _UselessError("GET /metrics names no vllm:num_requests_waiting and _running")
        return report

    def _note_failure(self, url: str, reason: str) -> None:
        self.metrics.load_reports.labels("failed").inc()
        if url not in self._rests_until:
            log.info("engine tells no load", endpoint=url, reason=reason)
        self._rests_until[url] = time.monotonic() + REST_S
