"""Loads from outside: a trace in a CSV file, or what a running server has seen."""

import asyncio
import csv
import dataclasses
import math
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from pagelet_bench.client import new_session
from pagelet_bench.core.errors import UnreachableError, UsageError
from pagelet_bench.core.live_lengths import live_lengths
from pagelet_bench.core.trace import Columns, columns, trace
from pagelet_bench.core.workload import Profile

MAX_METRICS_BYTES = 64 * 1024 * 1024
_TIMEOUT_S = 30.0


def from_trace(profile: Profile, path: Path) -> Profile:
    """Return `profile` with the lengths, and by default the times, of a recorded trace.

    Raises:
        UsageError: The file cannot be read, or is no trace.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            found = columns([name for name in reader.fieldnames or () if name])
            rows = list(reader)
    except (OSError, UnicodeError, csv.Error) as error:
        raise UsageError(f"the trace {path} cannot be read: {error}.") from None
    recorded = trace(rows, found, _times(rows, found))
    has_times = recorded[0].arrived_s is not None
    return dataclasses.replace(
        profile,
        name=path.name,
        trace=recorded,
        requests=len(recorded),
        concurrency=None if has_times else profile.concurrency or 1,
        rate_per_s=None,
        turns=1,
    )


def from_metrics(profile: Profile, url: str, api_key: str | None) -> Profile:
    """Return `profile` with the lengths that the server behind `url` has seen.

    Args:
        profile: All but the lengths.
        url: Of its metrics, such as http://127.0.0.1:8000/metrics.
        api_key: Sent as bearer token.

    Raises:
        UnreachableError: It does not answer.
        UsageError: It has no histograms of lengths.
    """
    prompts, outputs = live_lengths(asyncio.run(_metrics(url, api_key)))
    return dataclasses.replace(profile, name="live", prompts=prompts, outputs=outputs)


async def _metrics(url: str, api_key: str | None) -> str:
    try:
        async with (
            asyncio.timeout(_TIMEOUT_S),
            new_session(api_key) as session,
            session.get(url) as response,
        ):
            if response.status != 200:
                raise UnreachableError(f"{url} answered HTTP {response.status}.")
            data = await response.content.read(MAX_METRICS_BYTES)
            while not response.content.at_eof() and len(data) < MAX_METRICS_BYTES:
                data += await response.content.read(MAX_METRICS_BYTES - len(data))
            return data.decode(errors="replace")
    except aiohttp.InvalidURL:
        raise UsageError(f"{url!r} is no address such as http://127.0.0.1:8000/metrics.") from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UnreachableError(f"{url} cannot be reached: {error or 'no answer'}") from None


def _times(rows: list[dict[str, str]], found: Columns) -> list[float] | None:
    """Read times as seconds, or as dates; None where the file has none."""
    if found.time is None:
        return None
    return [_seconds(row.get(found.time) or "", found.time, n) for n, row in enumerate(rows, 1)]


def _seconds(text: str, column: str, number: int) -> float:
    try:
        if math.isfinite(seconds := float(text)):
            return seconds
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        raise UsageError(
            f"row {number} of the trace, column {column!r}, is {text!r}; it must be seconds or a "
            f"date such as 2026-01-31 12:00:00."
        ) from None
