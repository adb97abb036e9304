"""A run with one request at a time, out of what `pagelet bench --json` or the benchmark wrote."""

import json
import math
from pathlib import Path
from typing import Any

from pagelet_operator.core.planner.errors import PlanError
from pagelet_operator.core.planner.step_time import MeasuredRun

_WANTED = "a result of `pagelet bench --concurrency 1 --json`"


def read_run(path: Path) -> MeasuredRun:
    """Return the run in a result file.

    Raises:
        PlanError: It is none, or requests ran beside each other in it; names the file.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise PlanError(f"--measured {path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise PlanError(f"--measured {path}: is not JSON; give {_WANTED}") from None
    try:
        return _run(document, str(path))
    except (KeyError, TypeError, IndexError, ValueError, ZeroDivisionError) as error:
        raise PlanError(f"--measured {path}: is not {_WANTED}: {error!r}") from None


def _run(document: dict[str, Any], source: str) -> MeasuredRun:
    report = document["servers"][0]["single"] if "servers" in document else document["report"]
    if "servers" not in document and document["workload"]["concurrency"] != 1:
        raise ValueError("its requests ran beside each other")
    ok = int(report["ok"])
    memory = document["hardware"]["memory_bytes"]
    return MeasuredRun(
        prompt_tokens=_positive(report["prompt_tokens"] / ok),
        output_tokens=_positive(report["output_tokens"] / ok),
        ttft_s=_positive(report["ttft"]["p50_s"]),
        itl_s=_positive(report["mean_itl"]["p50_s"]),
        source=source,
        device_bytes=int(memory) if not document["hardware"]["gpus"] else None,
    )


def _positive(value: float) -> float:
    if not 0 < value < math.inf:
        raise ValueError(f"{value} where something was measured")
    return float(value)
