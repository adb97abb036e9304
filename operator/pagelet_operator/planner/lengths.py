"""How long requests are, from the command line, a recording in CSV, or a live endpoint."""

import csv
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from pagelet_operator.core.ledger import per_bucket
from pagelet_operator.core.planner.errors import PlanError
from pagelet_operator.core.planner.mix import (
    Lengths,
    Mix,
    of_histogram,
    of_percentiles,
    of_values,
)
from pagelet_operator.core.window import Histogram
from pagelet_operator.telemetry.exposition import ExpositionError, samples
from pagelet_operator.telemetry.series import OUTPUT_LENGTH, PROMPT_LENGTH

# The names of the load generator, of Azure's LLM inference traces, of BurstGPT and of Mooncake:
# https://github.com/Azure/AzurePublicDataset, https://github.com/HPMLL/BurstGPT
_PROMPT = ("prompt_tokens", "ContextTokens", "Request tokens", "input_length")
_OUTPUT = ("output_tokens", "GeneratedTokens", "Response tokens", "output_length")
_TIME = ("arrived_s", "TIMESTAMP", "Timestamp", "timestamp")

# Of a gateway, an engine of ours, and vLLM.
PROMPT_SERIES = (
    PROMPT_LENGTH,
    "pagelet_engine_request_prompt_tokens",
    "vllm:request_prompt_tokens",
)
OUTPUT_SERIES = (
    OUTPUT_LENGTH,
    "pagelet_engine_request_output_tokens",
    "vllm:request_generation_tokens",
)
_MODEL_LABELS = ("model", "model_name")
_MINUTE_S = 60.0


def from_flags(prompts: str, outputs: str) -> Mix:
    """Return the mix of two texts `p50,p95,p99`.

    Raises:
        PlanError: One of them is not of that form.
    """
    return Mix(
        prompts=_percentiles(prompts, "--prompt-tokens"),
        outputs=_percentiles(outputs, "--output-tokens"),
        source="--prompt-tokens and --output-tokens",
    )


def from_trace(path: Path) -> Mix:
    """Return the mix of a recording; requests without a prompt or an answer are left out.

    Raises:
        PlanError: It cannot be read, is empty, has no such columns, or its times go back.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = [name for name in reader.fieldnames or () if name]
            rows = list(reader)
    except (OSError, UnicodeError, csv.Error) as error:
        raise PlanError(f"--trace {path}: cannot be read: {error}") from None
    prompt, output = _column(names, _PROMPT, "prompt"), _column(names, _OUTPUT, "output")
    time = next((name for name in _TIME if name in names), None)
    kept, times = [], []
    for number, row in enumerate(rows, 1):
        pair = _tokens(row, prompt, number), _tokens(row, output, number)
        if time is not None:
            times.append(_seconds(row.get(time) or "", time, number))
        if all(pair):
            kept.append(pair)
    return Mix(
        prompts=of_values(prompts for prompts, _ in kept),
        outputs=of_values(outputs for _, outputs in kept),
        source=f"{path}, {len(kept)} requests",
        rate_per_s=_busiest(times, time or ""),
    )


def from_metrics(text: str, model: str, url: str) -> Mix:
    """Return the mix that an endpoint's histograms have counted.

    Args:
        text: Its `/metrics`.
        model: The served name; where the series say a model, others are left out.
        url: Where it is from, for errors.

    Raises:
        PlanError: There are no such histograms, or they counted nothing.
    """
    what = f"--lengths-from {url}"
    try:
        prompts = _counted(text, PROMPT_SERIES, model, what)
        outputs = _counted(text, OUTPUT_SERIES, model, what)
    except (ExpositionError, ValueError) as error:
        raise PlanError(f"{what}: its metrics cannot be read: {error}") from None
    return Mix(prompts=of_histogram(prompts, what), outputs=of_histogram(outputs, what), source=url)


def _percentiles(text: str, flag: str) -> Lengths:
    if not re.fullmatch(r"[0-9.]+(,[0-9.]+){2}", text):
        raise PlanError(f"{flag} is {text!r}; write p50,p95,p99 in tokens, such as 200,900,2000")
    try:
        p50, p95, p99 = map(float, text.split(","))
    except ValueError:
        raise PlanError(f"{flag} is {text!r}; write three numbers, such as 200,900,2000") from None
    return of_percentiles(p50, p95, p99, flag)


def _column(names: Sequence[str], accepted: Sequence[str], what: str) -> str:
    for name in accepted:
        if name in names:
            return name
    raise PlanError(
        f"--trace has no column with {what} lengths; it has {', '.join(names) or 'no header'}; "
        f"name one {', '.join(accepted)}"
    )


def _tokens(row: Mapping[str, str], column: str, number: int) -> int:
    text = row.get(column) or ""
    if not (text.isascii() and text.isdigit()):
        raise PlanError(
            f"--trace, row {number}, column {column!r} is {text!r}; it must be a number of tokens"
        )
    return int(text)


def _seconds(text: str, column: str, number: int) -> float:
    try:
        if math.isfinite(found := float(text)):
            return found
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise PlanError(
            f"--trace, row {number}, column {column!r} is {text!r}; it must be seconds or a date "
            f"such as 2026-01-31 12:00:00"
        ) from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _busiest(times: Sequence[float], column: str) -> float | None:
    """Return the requests per second of the busiest minute; None for less than one minute."""
    for number, (earlier, later) in enumerate(pairwise(times), 2):
        if later < earlier:
            raise PlanError(
                f"--trace, row {number}, column {column!r} is earlier than the row before; sort "
                f"the file by it"
            )
    if not times or times[-1] - times[0] < _MINUTE_S:
        return None
    minutes = Counter(int((at - times[0]) // _MINUTE_S) for at in times)
    return max(minutes.values()) / _MINUTE_S


def _counted(text: str, series: Sequence[str], model: str, what: str) -> Histogram:
    names = frozenset(f"{name}_bucket" for name in series)
    found: defaultdict[str, defaultdict[float, float]] = defaultdict(lambda: defaultdict(float))
    others = set()
    for name, of_model, bound, count in _buckets(text, names):
        if of_model in (None, model):
            found[name][bound] += count
        else:
            others.add(of_model)
    if not found:
        served = f" for {model!r}; it serves {', '.join(map(repr, sorted(others)))}"
        raise PlanError(
            f"{what} has no histogram of lengths{served if others else ''}; looked for "
            f"{', '.join(sorted(names))}"
        )
    return max(map(per_bucket, found.values()), key=lambda counted: counted.total)


def _buckets(text: str, names: frozenset[str]) -> Iterator[tuple[str, str | None, float, float]]:
    for sample in samples(text, names):
        told = (sample.labels.get(label) for label in _MODEL_LABELS)
        model = next((name for name in told if name is not None), None)
        yield sample.name, model, float(sample.labels.get("le", "")), sample.value
