"""Keeps a report of each load test that was judged, before its try is removed.

A report is for people. What cannot be kept holds no rollout up: the figures are in the status
all the same, and the message then says nothing of a report.
"""

from collections.abc import Mapping
from dataclasses import replace

from pagelet_operator.core.gate_report import report
from pagelet_operator.core.gate_tries import MAX_MESSAGE
from pagelet_operator.core.gates import (
    FINISHED,
    GateKey,
    GateKind,
    GateResult,
    GateRun,
    Memory,
)
from pagelet_operator.core.model import ModelRef
from pagelet_operator.ports import Gates, UnavailableError


async def keep_reports(
    gates: Gates,
    ref: ModelRef,
    memory: Memory,
    *,
    stored: Memory,
    running: Mapping[GateRun, GateResult],
    stable: str | None,
) -> Memory:
    """Return `memory` with word of where reports are.

    Safe to repeat: a look that died before its memory was stored keeps the same report again.

    Args:
        gates: Where they are kept.
        ref: Of which model.
        memory: What is remembered from now on.
        stored: What was remembered before this look.
        running: What the programs left.
        stable: The revision that serves.
    """
    told = dict(memory)
    for key, result in memory.items():
        measured = running.get(GateRun(key, result.errors))
        known = stored.get(key)
        is_new = known is None or known.status not in FINISHED
        if key.kind is not GateKind.LOAD_TEST or not is_new or measured is None:
            continue
        if result.status in FINISHED and result.figures:
            told[key] = await _kept(gates, ref, key, result, measured, memory, stable)
    return told


async def _kept(
    gates: Gates,
    ref: ModelRef,
    key: GateKey,
    result: GateResult,
    measured: GateResult,
    memory: Memory,
    stable: str | None,
) -> GateResult:
    other = stable if stable != key.revision else None
    profile = memory.get(replace(key, revision=other)) if other is not None else None
    found = report(
        key.revision,
        result,
        measured,
        stable=other,
        stable_figures=profile.figures if profile is not None else None,
    )
    try:
        place = await gates.keep(ref, found)
    except UnavailableError:
        return result
    word = f"; report: {place}"
    return replace(result, message=result.message[: MAX_MESSAGE - len(word)] + word)
