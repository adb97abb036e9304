"""The same windows from a Prometheus server that scrapes the gateways and engines.

Asked for raw samples, not for `increase()`, which extrapolates: what is counted here was counted
there. Resets are found in the samples; a series that began after its process did began at 0.
Two instant queries per look: https://prometheus.io/docs/prometheus/latest/querying/api/
"""

import asyncio
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import aiohttp

from pagelet_operator.core.model import Fleet, Model
from pagelet_operator.core.scaling.reading import ReplicaLoad
from pagelet_operator.core.window import Window
from pagelet_operator.ports import TelemetryError
from pagelet_operator.telemetry.exposition import ExpositionError, Sample
from pagelet_operator.telemetry.series import (
    ALIVE,
    FIRST_TOKEN_WAIT,
    GATEWAY,
    IN_FLIGHT,
    gateway_counts,
)

TIMEOUT_S = 10.0
"""Longest wait for an answer."""

MAX_BYTES = 64 * 1024 * 1024
"""Longest answer that is read."""

MAX_SPAN_S = 3600.0
"""Longest window asked for: raw samples of an hour are what one answer can carry."""

STALE_AFTER_S = 120.0
"""Without any gateway's sample for so long there is no telemetry: two of the usual minutes."""

_Series = list[tuple[float, float]]
"""Times and values, in order."""


class PrometheusTelemetry:
    """Use as an async context manager.

    Args:
        url: The server, such as http://prometheus.monitoring:9090.
        clock: Unix seconds.
        selector: Further label matchers of the gateways' series, such as `job="pagelet"`.
    """

    def __init__(self, url: str, clock: Callable[[], float], *, selector: str = "") -> None:
        self._url = url.rstrip("/")
        self._clock = clock
        self._selector = selector
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "PrometheusTelemetry":
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), trust_env=False
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def run(self) -> None:
        """Wait until cancelled: the server reads by itself."""
        await asyncio.Event().wait()

    async def windows(self, model: Model, fleet: Fleet, since: float) -> Mapping[str, Window]:
        """See `ports.Telemetry`."""
        now = self._clock()
        since = max(since, now - MAX_SPAN_S)
        asked = self.queries(model.served_name, now - since)
        found = [item for query in asked for item in await self._ask(query, now)]
        alive = {
            _process(labels): series
            for labels, series in found
            if labels.get("__name__") == ALIVE and series
        }
        if not any(series[-1][0] >= now - STALE_AFTER_S for series in alive.values()):
            raise TelemetryError(f"{self._url} has no samples of a gateway in the last minutes")
        born = {process: series[0][0] for process, series in alive.items()}
        began = max(since, min(born.values()))
        counts = _counts(found, born, now)
        return {
            name: replace(counts[name], since=began, until=now)
            for name in fleet.revisions
            if name in counts
        }

    async def pieces(
        self, model: Model, fleet: Fleet, revision: str, since: float
    ) -> Sequence[Window]:
        """See `ports.Telemetry`: all of it in one piece."""
        found = (await self.windows(model, fleet, since)).get(revision)
        return () if found is None else (found,)

    async def loads(self, model: Model, fleet: Fleet) -> Mapping[str, ReplicaLoad]:
        """See `ports.Telemetry`: none, since samples name pods and not their addresses."""
        return {}

    def queries(self, served_name: str, span_s: float) -> tuple[str, str]:
        """Return the PromQL for the raw samples of a model, and of gateways being there."""
        names = "|".join(sorted(GATEWAY))
        more = f",{self._selector}" if self._selector else ""
        span = f"[{max(1, math.ceil(span_s))}s]"
        # PromQL quotes as JSON does.
        counted = f'{{__name__=~"{names}",model={json.dumps(served_name)}{more}}}{span}'
        return counted, f'{{__name__="{ALIVE}"{more}}}{span}'

    async def _ask(self, query: str, now: float) -> list[tuple[dict[str, str], _Series]]:
        assert self._session is not None, "used outside `async with`"
        fields = {"query": query, "time": f"{now:.3f}"}
        try:
            async with self._session.post(f"{self._url}/api/v1/query", data=fields) as response:
                body = await response.content.read(MAX_BYTES + 1)
                while not response.content.at_eof() and len(body) <= MAX_BYTES:
                    body += await response.content.read(MAX_BYTES + 1 - len(body))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TelemetryError(f"{self._url}: {error or type(error).__name__}") from error
        if len(body) > MAX_BYTES:
            raise TelemetryError(f"{self._url} answers with more than {MAX_BYTES >> 20} MiB")
        return _matrix(self._url, body)


def _matrix(url: str, body: bytes) -> list[tuple[dict[str, str], _Series]]:
    """Return the series of an answer.

    Raises:
        TelemetryError: It is an error, no matrix, or holds what is no finite number.
    """
    try:
        answer: dict[str, Any] = json.loads(body)
        if answer["status"] != "success":
            raise TelemetryError(f"{url}: {answer.get('error', answer['status'])}")
        rows = [
            (row["metric"], [(float(at), float(value)) for at, value in row["values"]])
            for row in answer["data"]["result"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise TelemetryError(f"{url} answers what is no matrix: {body[:120]!r}") from error
    for labels, series in rows:
        if not all(math.isfinite(value) and value >= 0 for _, value in series):
            raise TelemetryError(f"{url}: {labels.get('__name__')} has values that count nothing")
    return rows


def _process(labels: Mapping[str, str]) -> tuple[str, str]:
    return labels.get("job", ""), labels.get("instance", "")


def _counts(
    found: Iterable[tuple[dict[str, str], _Series]],
    born: Mapping[tuple[str, str], float],
    now: float,
) -> dict[str, Window]:
    """Add up what all processes counted, by revision.

    Raises:
        TelemetryError: A series is not what gateways export.
    """
    by_process: defaultdict[tuple[str, str], list[Sample]] = defaultdict(list)
    for labels, series in found:
        name = labels.get("__name__", "")
        if name in GATEWAY:
            process = _process(labels)
            if name == IN_FLIGHT:
                value = sum(reading for _, reading in series)
            elif name == FIRST_TOKEN_WAIT:
                value = _newest(series, now)
            else:
                value = _increase(series, born.get(process, math.inf))
            by_process[process].append(Sample(name, labels, value))
    total: dict[str, Window] = {}
    for samples in by_process.values():
        try:
            for (_, revision), window in gateway_counts(samples).items():
                total[revision] = total[revision] + window if revision in total else window
        except (ExpositionError, ValueError) as error:
            raise TelemetryError(f"Prometheus holds no gateway's series: {error}") from error
    return total


def _newest(series: _Series, now: float) -> float:
    """Return the last reading; 0 once it is old, since who waited then has ended."""
    return series[-1][1] if series and series[-1][0] >= now - STALE_AFTER_S else 0.0


def _increase(series: _Series, process_since: float) -> float:
    """Return what a counter counted: its rises, and all of its value after a reset.

    Where the process was seen before the series, the series began at 0.
    """
    values = [value for _, value in series]
    began_late = bool(series) and series[0][0] > process_since
    first = values[0] if began_late else 0.0
    steps = (later - earlier if later >= earlier else later for earlier, later in pairwise(values))
    return first + sum(steps)
