"""Who is admitted next: tenants take turns by what they were served, not by what they ask for.

Each tenant has a virtual counter: tokens computed for it, divided by its weight; prompts count on
admission, cached and recomputed tokens not at all. The next sequence comes from the waiting tenant
with the smallest counter; within a tenant the higher priority goes first, then the earlier arrival.
A tenant that was away starts level with the least served one that is here, so absence saves up no
claim, and it keeps what it was ahead, so leaving pays no debt.
Priority moves a sequence past its own tenant's others only: nobody can starve another tenant.

Preempted sequences come before all others, oldest first: they were admitted once already.

Source: Sheng et al. 2024, "Fairness in Serving Large Language Models" (virtual token counter).
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from pagelet_engine.core.sequence import Sequence

MAX_IDLE_TENANTS = 1024
"""Counters kept for tenants that have nothing here; the least served are forgotten first, since
they would start level with the others anyway."""


@dataclass(slots=True)
class _Tenant:
    weight: float
    counter: float = 0.0
    """Tokens served / weight."""
    num_present: int = 0
    """Sequences waiting or running."""
    waiting: dict[int, OrderedDict[int, Sequence]] = field(default_factory=dict)
    """Priority to sequences in order of arrival; no empty ones."""


class FairQueue:
    """The waiting sequences of all tenants, and what each tenant was served."""

    def __init__(self) -> None:
        self._tenants: dict[str, _Tenant] = {}
        self._preempted: dict[int, Sequence] = {}
        self._num_waiting = 0
        self._level = 0.0
        self.num_tokens = 0
        """Sum of `num_queued_tokens` of the waiting sequences."""

    def __len__(self) -> int:
        return self._num_waiting

    def __iter__(self) -> Iterator[Sequence]:
        """Iterate over all waiting sequences, in no useful order after the preempted ones."""
        yield from self._preempted.values()
        for tenant in self._tenants.values():
            for seqs in tenant.waiting.values():
                yield from seqs.values()

    def push(self, seq: Sequence) -> None:
        """Add a new sequence behind those of its tenant and priority."""
        tenant = self._tenants.get(seq.tenant)
        if tenant is None:
            self._forget_idle_tenants()
            tenant = self._tenants[seq.tenant] = _Tenant(seq.weight)
        if not tenant.num_present:
            tenant.counter = max(tenant.counter, self._least_served())
        tenant.weight = seq.weight
        tenant.num_present += 1
        tenant.waiting.setdefault(seq.priority, OrderedDict())[seq.seq_id] = seq
        self._count(seq, +1)

    def push_preempted(self, seq: Sequence) -> None:
        """Take back a sequence that was popped and has not left."""
        self._preempted[seq.seq_id] = seq
        self._count(seq, +1)

    def peek(self) -> Sequence | None:
        """Return whose turn it is, or None if nobody waits."""
        if self._preempted:
            return min(self._preempted.values(), key=lambda seq: seq.arrival)
        waiting = [tenant for tenant in self._tenants.values() if tenant.waiting]
        if not waiting:
            return None
        return min((_first(tenant) for tenant in waiting), key=self._turn)

    def remove(self, seq: Sequence) -> None:
        """Take a waiting sequence out: it was admitted, or it is about to leave."""
        if self._preempted.pop(seq.seq_id, None) is None:
            waiting = self._tenants[seq.tenant].waiting
            del waiting[seq.priority][seq.seq_id]
            if not waiting[seq.priority]:
                del waiting[seq.priority]
        self._count(seq, -1)

    def leave(self, seq: Sequence) -> None:
        """Count a sequence that was pushed as gone; it is in no queue any more."""
        tenant = self._tenants[seq.tenant]
        tenant.num_present -= 1
        if not tenant.num_present:
            self._level = max(self._level, min(tenant.counter, self._least_served()))

    def charge(self, seq: Sequence, num_tokens: int) -> None:
        """Count tokens as served to the tenant of `seq`, which is present."""
        tenant = self._tenants[seq.tenant]
        tenant.counter += num_tokens / tenant.weight

    def _turn(self, seq: Sequence) -> tuple[float, int]:
        return self._tenants[seq.tenant].counter, seq.arrival

    def _least_served(self) -> float:
        counters = [tenant.counter for tenant in self._tenants.values() if tenant.num_present]
        return min(counters, default=self._level)

    def _forget_idle_tenants(self) -> None:
        idle = [name for name, tenant in self._tenants.items() if not tenant.num_present]
        if len(idle) < MAX_IDLE_TENANTS:
            return
        idle.sort(key=lambda name: self._tenants[name].counter)
        for name in idle[: len(idle) // 2]:
            del self._tenants[name]

    def _count(self, seq: Sequence, change: int) -> None:
        self._num_waiting += change
        self.num_tokens += change * seq.num_queued_tokens


def _first(tenant: _Tenant) -> Sequence:
    return next(iter(tenant.waiting[max(tenant.waiting)].values()))
