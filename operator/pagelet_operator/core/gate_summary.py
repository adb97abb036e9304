"""What a gate's program wrote, read with distrust: it comes from another process.

The document is `pagelet gate`'s: figures by name, or an error (tests/contract holds both sides).
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from pagelet_operator.core.gate_report import CURVE_PERCENTS
from pagelet_operator.core.gates import GateResult, GateStatus
from pagelet_operator.core.lengths import BUCKETS, Lengths

SCHEMA_VERSION = 1
MAX_BYTES = 4096


def read(data: bytes) -> GateResult:
    """Return what a summary says: measured figures, or an error."""
    try:
        found = json.loads(data[:MAX_BYTES])
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return _error("the gate's program left no summary")
    if "error" in found:
        return _error(str(found["error"]))
    figures = _figures(found.get("figures"))
    if found.get("schema") != SCHEMA_VERSION or figures is None:
        return _error(f"the gate's summary cannot be used: {data[:80]!r}")
    message = str(found.get("message", ""))
    return GateResult(
        status=GateStatus.MEASURED,
        message=message,
        figures=figures,
        lengths=_lengths(found.get("lengths")),
        curves=_curves(found.get("curves")),
    )


def _error(message: str) -> GateResult:
    return GateResult(status=GateStatus.ERROR, message=message)


def _figures(found: Any) -> Mapping[str, float] | None:
    if not isinstance(found, dict):
        return None
    figures = {}
    for name, value in found.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value < 0:
            return None
        figures[str(name)] = float(value)
    return figures


def _curves(found: Any) -> Mapping[str, tuple[float, ...]]:
    """Return latencies by percentile, as far as they are such."""
    told = found if isinstance(found, dict) else {}
    return {str(name): values for name, raw in told.items() if (values := _ascending(raw))}


def _ascending(raw: Any) -> tuple[float, ...]:
    values = tuple(raw) if isinstance(raw, list) and len(raw) == len(CURVE_PERCENTS) else ()
    named = _figures({str(place): value for place, value in enumerate(values)})
    found = tuple((named or {}).values())
    return found if list(found) == sorted(found) else ()


def _lengths(found: Any) -> Lengths:
    """Return the lengths of the test's requests; none where another program counts otherwise."""
    told = found if isinstance(found, dict) else {}
    return Lengths(prompt=_counts(told.get("prompt")), output=_counts(told.get("output")))


def _counts(found: Any) -> tuple[int, ...]:
    if not isinstance(found, list) or len(found) != BUCKETS:
        return ()
    if not all(type(count) is int and count >= 0 for count in found):
        return ()
    return tuple(found)
