"""Reads how busy an engine is out of its metrics; the names are the model server protocol's."""

from dataclasses import dataclass

_WAITING = b"vllm:num_requests_waiting"
_RUNNING = b"vllm:num_requests_running"


@dataclass(frozen=True, slots=True)
class LoadReport:
    """An engine's queue, as the engine sees it."""

    waiting: int
    running: int


def parse(exposition: bytes) -> LoadReport | None:
    """Find the two gauges in Prometheus' text format; None if one is missing or no number.

    Series of the same name are added up: an engine may serve one model under several names.

    PERF: two searches, 15 µs in 40 KB; reading the whole format takes 10 ms.
    """
    waiting, running = _sum(exposition, _WAITING), _sum(exposition, _RUNNING)
    if waiting is None or running is None:
        return None
    return LoadReport(waiting, running)


def _sum(exposition: bytes, name: bytes) -> int | None:
    total, at = None, -1
    text = b"\n" + exposition
    while (at := text.find(b"\n" + name, at + 1)) >= 0:
        start = at + 1 + len(name)
        end = text.find(b"\n", start)
        line = text[start : end if end >= 0 else len(text)]
        if line[:1] not in (b"{", b" "):
            continue  # a longer name that begins alike
        value = _number(line.rpartition(b"}")[2])
        if value is None:
            return None
        total = (total or 0) + value
    return total


def _number(text: bytes) -> int | None:
    """The value at the start of ` VALUE [TIMESTAMP]`."""
    try:
        value = float(text.split()[0])
    except (IndexError, ValueError):
        return None
    return int(value) if 0 <= value < 1e9 else None
