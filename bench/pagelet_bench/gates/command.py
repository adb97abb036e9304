"""The body of `pagelet gate`: measure, write the summary, say it in the exit code.

Exit code 0: the summary is written, whatever it says; the operator judges it. 2: nothing could
be measured, and the summary holds the reason under `error`.
"""

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pagelet_bench.core.errors import BenchError, UsageError
from pagelet_bench.core.gates.summary import Document, encoded
from pagelet_bench.gates import load_test, parity, warmup
from pagelet_bench.gates.session import open_session
from pagelet_bench.key_file import read_key

KINDS = ("warmup", "parity", "loadTest")
EXIT_OK, EXIT_ERROR = 0, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOptions:
    """What to measure, and where."""

    kind: str
    url: str
    against: str | None = None
    model: str | None = None
    settings: str = "{}"
    key_file: Path | None = None
    summary: Path | None = None
    timeout_s: float = 120.0


def gate(options: GateOptions) -> int:
    """Run one gate and return the exit code."""
    try:
        found = asyncio.run(measure(options))
    except BenchError as error:
        print(f"pagelet gate: {error}", file=sys.stderr)
        _write(options.summary, {"error": str(error)[:1000]})
        return EXIT_ERROR
    _write(options.summary, found)
    return EXIT_OK


async def measure(options: GateOptions) -> Document:
    """Run one gate.

    Raises:
        UsageError: The options are none.
        UnreachableError: An endpoint does not answer as needed.
    """
    settings = _settings(options.settings)
    async with open_session(read_key(options.key_file)) as session:
        match options.kind:
            case "warmup":
                return await warmup.run(
                    session, options.url, options.model, settings, options.timeout_s
                )
            case "parity":
                return await parity.run(
                    session,
                    options.url,
                    options.against,
                    options.model,
                    settings,
                    options.timeout_s,
                )
            case "loadTest":
                return await load_test.run(
                    session, options.url, options.model, settings, options.timeout_s
                )
    raise UsageError(f"there is no gate {options.kind!r}; choose one of {', '.join(KINDS)}.")


def _settings(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UsageError(f"--settings is no JSON object: {text[:80]!r}.")
    return found


def _write(path: Path | None, found: Document) -> None:
    data = encoded(found)
    if path is None:
        print(data.decode())
        return
    try:
        # A reader must never see half of it; what cannot be replaced is written in place.
        part = path.with_name(path.name + ".part")
        part.write_bytes(data)
        part.replace(path)
    except OSError:
        path.write_bytes(data)
