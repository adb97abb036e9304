"""Runs probes on one endpoint, one after the other, within a time that is known before."""

import time
from collections.abc import Callable, Sequence

from pagelet_bench.check.wire import Wire
from pagelet_bench.core.check.target import Target
from pagelet_bench.core.check.trial import Outcome, Trial
from pagelet_bench.core.check.verdict import Probe, untestable

OnOutcome = Callable[[Outcome], None]

_MAX_LOST = 3
"""So many requests in a row without any answer: nobody is there any more."""


async def run_probes(
    wire: Wire,
    target: Target,
    probes: Sequence[Probe],
    *,
    limit_s: float,
    on_outcome: OnOutcome,
) -> tuple[Outcome, ...]:
    """Run all probes and return their outcomes, in order.

    After `limit_s` seconds, or once the endpoint answers nothing any more, the rest is not
    testable; the probe under way then still ends, within its requests' time-outs.
    """
    ends_s = time.monotonic() + limit_s
    outcomes: list[Outcome] = []
    num_lost, last_asked = 0, ""
    for probe in probes:
        if num_lost >= _MAX_LOST:
            finding = untestable(f"the endpoint answers nothing since {last_asked}")
            outcome = Outcome(probe=probe, finding=finding)
        elif time.monotonic() > ends_s:
            finding = untestable(f"the check's {limit_s:g} s were over")
            outcome = Outcome(probe=probe, finding=finding)
        else:
            outcome = await run_probe(wire, target, probe)
            num_lost, last_asked = _lost(outcome, num_lost), probe.id
        outcomes.append(outcome)
        on_outcome(outcome)
    return tuple(outcomes)


async def run_probe(wire: Wire, target: Target, probe: Probe) -> Outcome:
    """Run one probe to its finding."""
    trial = Trial(probe, target)
    while trial.request is not None:
        trial.take(await wire.send(trial.request))
    return trial.outcome()


def _lost(outcome: Outcome, before: int) -> int:
    """Count requests in a row that got no answer at all, over probes."""
    count = before
    for exchange in outcome.exchanges:
        count = count + 1 if exchange.failure and not exchange.status else 0
    return count
