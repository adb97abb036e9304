"""All probes, in the order in which they run."""

from collections.abc import Sequence

from pagelet_bench.core.check.probes import (
    basics,
    constraints,
    errors,
    logprobs,
    prompts,
    sampling,
    stopping,
    streaming,
    tools,
    transport,
)
from pagelet_bench.core.check.verdict import Probe
from pagelet_bench.core.errors import UsageError

PROBES: tuple[Probe, ...] = (
    *basics.PROBES,
    *streaming.PROBES,
    *sampling.PROBES,
    *stopping.PROBES,
    *logprobs.PROBES,
    *constraints.PROBES,
    *tools.PROBES,
    *prompts.PROBES,
    *errors.PROBES,
    *transport.PROBES,
)
"""Errors come late: should one harm the endpoint, the rest is known by then."""

GROUPS = tuple(dict.fromkeys(probe.group for probe in PROBES))


def select(names: Sequence[str]) -> tuple[Probe, ...]:
    """Return the probes of the groups, or with the ids, in `names`; all if there are none.

    Raises:
        UsageError: A name that is neither.
    """
    known = {*GROUPS, *(probe.id for probe in PROBES)}
    for name in names:
        if name not in known:
            raise UsageError(f"there is no group {name!r}; groups are {', '.join(GROUPS)}.")
    return tuple(p for p in PROBES if not names or p.group in names or p.id in names)
