"""How long a server lets somebody wait, in processor time that it spends meanwhile.

On a busy machine everything takes longer and nothing costs more, so a bound on what was computed
between two signs of life holds there as well; a server that waits for nothing is found by the
time-outs of its clients.
"""

import os
from collections.abc import Iterable

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def computed_s(pids: Iterable[int]) -> float:
    """Return the processor time that processes have used so far, to 0.01 s, all threads together.

    Args:
        pids: Of processes that run.
    """
    return sum(map(_ticks, pids)) / _TICKS_PER_S


def _ticks(pid: int) -> int:
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])  # utime, stime; see proc(5)
