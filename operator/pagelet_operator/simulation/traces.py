"""Traces: made from a seed, or read from a CSV in the layout of the public ones."""

import csv
import math
import random
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from pagelet_operator.simulation.engine import Request

HOUR_S = 3600.0

LAYOUTS = (
    ("TIMESTAMP", "ContextTokens", "GeneratedTokens"),  # Azure LLM inference traces
    ("Timestamp", "Request tokens", "Response tokens"),  # BurstGPT
)
"""Columns of arrival, prompt and output."""


class TraceError(Exception):
    """A trace cannot be used; the message says where and what is accepted."""


def diurnal(seed: int, hours: float, peak_per_s: float) -> list[Request]:
    """A day in `hours`: from a tenth of the peak up to it and back, once."""
    span_s = hours * HOUR_S
    return _made(
        seed, span_s, lambda t: peak_per_s * (0.55 - 0.45 * math.cos(2 * math.pi * t / span_s))
    )


def bursty(seed: int, hours: float, peak_per_s: float) -> list[Request]:
    """Gamma-distributed rates, a new one every ten minutes: shape 1.5, mean a third of the peak."""
    rng = random.Random(seed)  # noqa: S311 - a trace, no secret
    rates = [
        min(peak_per_s, rng.gammavariate(1.5, peak_per_s / 4.5))
        for _ in range(math.ceil(hours * 6) + 1)
    ]
    return _made(seed, hours * HOUR_S, lambda t: rates[int(t // 600.0)])


def flash(seed: int, hours: float, peak_per_s: float) -> list[Request]:
    """A sixth of the peak, and in the middle third all of it at once."""
    span_s = hours * HOUR_S
    return _made(
        seed, span_s, lambda t: peak_per_s / (1 if span_s / 3 <= t < 2 * span_s / 3 else 6)
    )


MADE: dict[str, Callable[[int, float, float], list[Request]]] = {
    "diurnal": diurnal,
    "bursty": bursty,
    "flash": flash,
}


def read(path: Path) -> list[Request]:
    """Return the requests of a CSV file, in its order, the first at 0 s.

    Raises:
        TraceError: It has none of the known layouts, a value that is none, or no request.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            found = list(_rows(path, csv.DictReader(file)))
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror}") from error
    if not found:
        raise TraceError(f"{path} holds no request")
    first = found[0].at
    return [Request(r.at - first, r.prompt_tokens, r.output_tokens) for r in found]


def _rows(path: Path, reader: "csv.DictReader[str]") -> Iterator[Request]:
    names = reader.fieldnames or []
    layout = next((item for item in LAYOUTS if set(item) <= set(names)), None)
    if layout is None:
        known = " or ".join(", ".join(item) for item in LAYOUTS)
        raise TraceError(f"{path} has columns {', '.join(names) or 'none'}; accepted: {known}")
    for row in reader:
        try:
            at, prompt, output = (row[name] for name in layout)
            yield Request(_seconds(at), max(1, int(prompt)), max(1, int(output)))
        except (ValueError, TypeError) as error:
            raise TraceError(f"{path}, line {reader.line_num}: {error}") from None


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        # The public traces have seven digits of a second, which is one more than fits.
        return datetime.fromisoformat(text[:26]).timestamp()


def _made(seed: int, span_s: float, rate: Callable[[float], float]) -> list[Request]:
    """Poisson arrivals at a rate that changes slowly; lengths are log-normal, as users' are."""
    rng = random.Random(seed)  # noqa: S311 - a trace, no secret
    made: list[Request] = []
    at = 0.0
    while True:
        at += rng.expovariate(max(1e-3, rate(at)))
        if at >= span_s:
            return made
        prompt = min(8000, max(8, round(rng.lognormvariate(5.8, 1.0))))
        output = min(1500, max(4, round(rng.lognormvariate(5.0, 0.7))))
        made.append(Request(at, prompt, output))
