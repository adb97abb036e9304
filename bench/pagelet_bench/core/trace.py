"""Recorded requests as a load: how long each was, and when it came.

Column names are those of this program and of two public traces, so that their files are taken as
they are: Azure's LLM inference traces (`TIMESTAMP,ContextTokens,GeneratedTokens`) and BurstGPT
(`Timestamp,Model,Request tokens,Response tokens,...`).
Sources: https://github.com/Azure/AzurePublicDataset, https://github.com/HPMLL/BurstGPT
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pagelet_bench.core.errors import UsageError

PROMPT_COLUMNS = ("prompt_tokens", "ContextTokens", "Request tokens", "input_length")
OUTPUT_COLUMNS = ("output_tokens", "GeneratedTokens", "Response tokens", "output_length")
TIME_COLUMNS = ("arrived_s", "TIMESTAMP", "Timestamp", "timestamp")


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One recorded request.

    Attributes:
        arrived_s: Seconds after the first one; None in a file without times.
        output_tokens: Of a request that failed when it was recorded: 0; it is left out.
    """

    prompt_tokens: int
    output_tokens: int
    arrived_s: float | None = None


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a file say what."""

    prompt: str
    output: str
    time: str | None


def columns(names: Sequence[str]) -> Columns:
    """Find the columns among a file's.

    Raises:
        UsageError: Prompt or output lengths are missing; the message lists accepted names.
    """
    prompt, output = _one(names, PROMPT_COLUMNS, "prompt"), _one(names, OUTPUT_COLUMNS, "output")
    return Columns(prompt, output, next((name for name in TIME_COLUMNS if name in names), None))


def _one(names: Sequence[str], accepted: Sequence[str], what: str) -> str:
    for name in accepted:
        if name in names:
            return name
    raise UsageError(
        f"the trace has no column with {what} lengths; it has {', '.join(names) or 'no header'}; "
        f"name one {', '.join(accepted)}."
    )


def trace(
    rows: Iterable[Mapping[str, str]], found: Columns, times: Iterable[float] | None
) -> tuple[TraceRow, ...]:
    """Read rows; requests without a prompt or an answer are left out.

    Args:
        rows: Text by column, as the file has it.
        found: Which columns say what.
        times: Seconds of each row on any clock; None for a file without times.

    Raises:
        UsageError: A length is no number, times go back, or no row is left.
    """
    clock = None if times is None else list(times)
    if clock is not None:
        _check_order(clock, found.time or "time")
    begin = clock[0] if clock else 0.0
    kept = []
    for number, row in enumerate(rows):
        prompt = _tokens(row, found.prompt, number)
        output = _tokens(row, found.output, number)
        arrived = None if clock is None else clock[number] - begin
        if prompt and output:
            kept.append(TraceRow(prompt, output, arrived))
    if not kept:
        raise UsageError("the trace has no request with a prompt and an answer; it is empty.")
    return tuple(kept)


def _check_order(clock: Sequence[float], column: str) -> None:
    for number, (earlier, later) in enumerate(pairwise(clock), start=2):
        if later < earlier:
            raise UsageError(
                f"row {number} of the trace, column {column!r}, is earlier than the row before; "
                f"sort the file by it."
            )


def _tokens(row: Mapping[str, str], column: str, number: int) -> int:
    text = row.get(column) or ""
    try:
        count = int(text)
    except ValueError:
        count = -1
    if count < 0:
        raise UsageError(
            f"row {number + 1} of the trace, column {column!r}, is {text!r}; it must be a number "
            f"of tokens."
        )
    return count
