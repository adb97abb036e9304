"""The default source: asks gateways and engines for their metrics, and remembers what happened.

Nothing else has to be installed. Gateways tell how requests ended and how long they took, by
revision; engines tell their queues and tokens. A source that does not answer is left out of the
interval, which is fair: a gateway carries both revisions. None at all is an error, never a
verdict.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NoReturn

import aiohttp
from yarl import URL

from pagelet_operator.core.ledger import Key, Ledger
from pagelet_operator.core.model import Fleet, Model, ModelRef
from pagelet_operator.core.scaling.reading import ReplicaLoad
from pagelet_operator.core.window import Window
from pagelet_operator.ports import TelemetryError
from pagelet_operator.telemetry.exposition import ExpositionError, samples
from pagelet_operator.telemetry.series import (
    ENGINE,
    GATEWAY,
    engine_counts,
    gateway_counts,
    replica_load,
)

INTERVAL_S = 5.0
"""Between two readings: a third of the default look, so that a window begins near its step."""

TIMEOUT_S = 3.0
"""Longest wait for one answer, its body included."""

MAX_BYTES = 16 * 1024 * 1024
"""Longest exposition that is read: about 1,000 models at two revisions."""

MAX_CONCURRENT = 16
"""Sources asked at the same time."""

STALE_AFTER_INTERVALS = 4
"""Without any gateway's answer for so long there is no telemetry."""

FORGET_ENGINES_AFTER_S = 120.0
"""Engines of a model nobody asked about for so long are left alone."""

Gateways = Callable[[], Awaitable[Sequence[str]]]
"""Base URLs of the gateways' /metrics, now."""

EngineKey = Callable[[ModelRef], str | None]
"""The gateway key that opens a model's engines' /metrics; None for engines without keys."""


@dataclass(frozen=True, slots=True)
class _Engines:
    model: str
    urls: Mapping[str, str]
    """Revision by base URL."""
    asked_at: float


class Scraper:
    """Use as an async context manager, and run `run` beside it.

    Args:
        gateways: Which to ask; may raise OSError where that is not known just now.
        clock: Unix seconds.
        engine_key: See `EngineKey`.
        interval_s: Between two readings.

    Attributes:
        failures: Why a source did not answer the last time, by URL.
    """

    def __init__(
        self,
        gateways: Gateways,
        clock: Callable[[], float],
        *,
        engine_key: EngineKey = lambda _: None,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self.failures: dict[str, str] = {}
        self._gateways = gateways
        self._clock = clock
        self._engine_key = engine_key
        self._interval_s = interval_s
        self._ledger = Ledger()
        self._engines: dict[ModelRef, _Engines] = {}
        self._known: set[str] = set()
        self._loads: dict[str, ReplicaLoad] = {}
        self._answered_at: float | None = None
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Scraper":
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def run(self) -> None:
        """Read all sources, again and again, until cancelled."""
        while True:
            await self.read()
            await asyncio.sleep(self._interval_s)

    async def read(self) -> None:
        """Read all sources once; what fails is in `failures`."""
        try:
            gateways = list(dict.fromkeys(await self._gateways()))
        except OSError as error:
            self.failures = {"gateways": str(error)}
            return
        engines, now = self._engines_to_ask(), self._clock()
        self._forget_all_but({*gateways, *engines})
        self._ledger.expire(now)
        await asyncio.gather(
            *(self._read_gateway(url, now) for url in gateways),
            *(self._read_engine(url, now, *asked) for url, asked in engines.items()),
        )

    async def windows(self, model: Model, fleet: Fleet, since: float) -> Mapping[str, Window]:
        """See `ports.Telemetry`: from memory, without a request."""
        self._ask(model, fleet)
        found = {
            name: self._ledger.window((model.served_name, name), since) for name in fleet.revisions
        }
        return {name: window for name, window in found.items() if window is not None}

    async def pieces(
        self, model: Model, fleet: Fleet, revision: str, since: float
    ) -> Sequence[Window]:
        """See `ports.Telemetry`: reading by reading, those of long ago joined."""
        self._ask(model, fleet)
        return self._ledger.entries((model.served_name, revision), since)

    async def loads(self, model: Model, fleet: Fleet) -> Mapping[str, ReplicaLoad]:
        """See `ports.Telemetry`."""
        with suppress(TelemetryError):  # Engines are asked whether gateways answer or not.
            self._ask(model, fleet)
        ready = (url for seen in fleet.revisions.values() for url in seen.endpoints)
        return {url: self._loads[url] for url in ready if url in self._loads}

    def _ask(self, model: Model, fleet: Fleet) -> None:
        """Have the model's engines read from now on; fail if no gateway was read lately."""
        now = self._clock()
        urls = {url: name for name, seen in fleet.revisions.items() for url in seen.endpoints}
        self._engines[model.ref] = _Engines(model.served_name, urls, now)
        oldest = now - STALE_AFTER_INTERVALS * self._interval_s
        if self._answered_at is None or self._answered_at < oldest:
            raise TelemetryError(f"no gateway tells what users see: {self._why()}")

    def _why(self) -> str:
        if not self.failures:
            return "none is known" if self._answered_at is None else "none is left"
        return "; ".join(f"{url}: {why}" for url, why in sorted(self.failures.items())[:3])

    def _engines_to_ask(self) -> dict[str, tuple[Key, str | None]]:
        oldest = self._clock() - FORGET_ENGINES_AFTER_S
        for ref in [ref for ref, known in self._engines.items() if known.asked_at < oldest]:
            del self._engines[ref]
        return {
            url: ((known.model, revision), self._engine_key(ref))
            for ref, known in self._engines.items()
            for url, revision in known.urls.items()
        }

    def _forget_all_but(self, urls: set[str]) -> None:
        for url in self._known - urls:
            self._ledger.forget(url)
            self._loads.pop(url, None)
        self._known = urls
        self.failures = {url: why for url, why in self.failures.items() if url in urls}

    async def _read_gateway(self, url: str, now: float) -> None:
        with suppress(_NoAnswerError):
            text = await self._get(url, None)
            with self._noting(url):
                self._ledger.read(url, gateway_counts(samples(text, GATEWAY)), now)
            self._answered_at = now

    async def _read_engine(self, url: str, now: float, key: Key, secret: str | None) -> None:
        with suppress(_NoAnswerError):
            text = await self._get(url, secret)
            with self._noting(url):
                found = list(samples(text, ENGINE))
                self._ledger.read(url, {key: engine_counts(found)}, now)
                load = replica_load(found, now)
            if load is not None:
                self._loads[url] = load

    @contextmanager
    def _noting(self, url: str) -> Iterator[None]:
        try:
            yield
        except (ExpositionError, ValueError) as error:  # ValueError: buckets of two versions
            self._note(url, str(error))
        self.failures.pop(url, None)

    def _note(self, url: str, why: str) -> NoReturn:
        self.failures[url] = why
        raise _NoAnswerError

    async def _get(self, url: str, secret: str | None) -> str:
        assert self._session is not None, "used outside `async with`"
        headers = {"x-pagelet-gateway-key": secret} if secret else {}
        try:
            async with (
                self._slots,
                self._session.get(
                    URL(f"{url}/metrics", encoded=True), headers=headers, allow_redirects=False
                ) as response,
            ):
                if response.status != 200:
                    self._note(url, f"HTTP {response.status}")
                body = await response.content.read(MAX_BYTES + 1)
                while not response.content.at_eof() and len(body) <= MAX_BYTES:
                    body += await response.content.read(MAX_BYTES + 1 - len(body))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._note(url, str(error) or type(error).__name__)
        if len(body) > MAX_BYTES:
            self._note(url, f"more than {MAX_BYTES >> 20} MiB of metrics")
        return body.decode("utf-8", "replace")


class _NoAnswerError(Exception):
    """A source said nothing of use; `failures` has why."""
