"""Tenants get their share of what is served, and nobody waits for ever."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagelet_engine.core.block_manager import BlockManager
from pagelet_engine.core.fair_queue import MAX_IDLE_TENANTS, FairQueue
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.core.scheduler import Scheduler, SchedulerLimits
from pagelet_engine.core.sequence import Sequence


def _seq(seq_id: int, tenant: str = "", *, weight: float = 1.0, priority: int = 0) -> Sequence:
    return Sequence(
        seq_id,
        [seq_id],
        SamplingParams(max_tokens=1),
        tenant=tenant,
        weight=weight,
        priority=priority,
        arrival=seq_id,
        num_queued_tokens=2,
    )


def _pop(queue: FairQueue) -> int:
    seq = queue.peek()
    assert seq is not None
    queue.remove(seq)
    return seq.seq_id


def test_priority_orders_a_tenants_own_sequences_only():
    queue = FairQueue()
    for seq in (_seq(1, "a"), _seq(2, "a", priority=5), _seq(3, "a", priority=5), _seq(4, "b")):
        queue.push(seq)
    assert (len(queue), queue.num_tokens) == (4, 8)
    queue.charge(_seq(9, "a"), 10)
    assert [_pop(queue) for _ in range(4)] == [4, 2, 3, 1]
    assert (len(queue), queue.num_tokens, queue.peek()) == (0, 0, None)


def test_the_preempted_come_first_and_in_order_of_arrival():
    queue = FairQueue()
    seqs = [_seq(n) for n in (1, 2, 3)]
    for seq in seqs:
        queue.push(seq)
    first, second = seqs[:2]
    for seq in (first, second):
        queue.remove(seq)
    for seq in (second, first):
        queue.push_preempted(seq)
    assert [_pop(queue) for _ in range(3)] == [1, 2, 3]


def test_absence_saves_no_claim_and_pays_no_debt():
    queue = FairQueue()
    busy, idle = _seq(1, "busy"), _seq(2, "idle")
    queue.push(busy)
    queue.charge(busy, 1000)
    queue.push(idle)  # level with busy, which is the only one here
    queue.charge(idle, 1)
    assert queue.peek() is busy
    queue.charge(busy, 500)
    assert _pop(queue) == 2
    queue.remove(busy)
    queue.leave(busy)
    back = _seq(3, "busy")
    queue.push(back)
    other = _seq(4, "idle")
    queue.push(other)
    assert _pop(queue) == 4


def test_tenants_that_left_are_forgotten_before_they_fill_the_memory():
    queue = FairQueue()
    for number in range(3 * MAX_IDLE_TENANTS):
        seq = _seq(number, f"tenant {number}")
        queue.push(seq)
        queue.remove(seq)
        queue.leave(seq)
    assert len(queue._tenants) <= MAX_IDLE_TENANTS + 1


@given(
    st.lists(st.sampled_from([0.5, 1.0, 2.0, 4.0]), min_size=2, max_size=4),
    st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=5),
    st.integers(0, 3),
)
@settings(max_examples=25, deadline=None)
def test_waiting_tenants_are_served_by_weight_whatever_they_ask(
    weights: list[float], shapes: list[tuple[int, int]], max_priority: int
):
    """Each tenant has always more waiting than fits; tenant i asks for its own mix of lengths.

    What is admitted is served to its end, so a tenant is ahead by a full batch of its longest
    sequences at most, however long it takes; the run goes on until that is a tenth of its share.
    """
    limits = SchedulerLimits(max_num_seqs=4, max_num_batched_tokens=16, max_model_len=100)
    scheduler = Scheduler(limits, BlockManager(100, 4), frozenset())
    served = [0] * len(weights)
    num_seqs = 0
    ahead = limits.max_num_seqs * max(map(sum, shapes)) / min(weights)
    for step in itertools.count():
        shares = [tokens / weight for tokens, weight in zip(served, weights, strict=True)]
        assert max(shares) - min(shares) <= ahead
        if step >= 800 and max(shares) >= 10 * ahead:
            break
        for index, weight in enumerate(weights):
            tenant = str(index)
            num_waiting = sum(seq.tenant == tenant for seq in scheduler.waiting)
            for _ in range(limits.max_num_seqs + 1 - num_waiting):
                prompt_len, max_tokens = shapes[(num_seqs + index) % len(shapes)]
                num_seqs += 1
                seq = Sequence(
                    num_seqs,
                    [num_seqs] * prompt_len,
                    SamplingParams(max_tokens=max_tokens),
                    tenant=tenant,
                    weight=weight,
                    priority=step % (max_priority + 1),
                )
                assert scheduler.add(seq) is None
        plan = scheduler.schedule()
        for item in plan.scheduled:
            served[int(item.seq.tenant)] += item.num_tokens
        scheduler.update(plan, [1] * len(plan.sampling))
    assert min(shares) == pytest.approx(max(shares), rel=0.10)
