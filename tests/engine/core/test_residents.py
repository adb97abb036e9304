"""Who reads slowly is held back, delays nobody else, and gets all of its output in the end."""

import pytest

from pagelet_engine.core.block_manager import BlockManager
from pagelet_engine.core.deadlines import Expired
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.core.scheduler import Scheduler, SchedulerLimits
from pagelet_engine.core.sequence import Sequence, SequenceState


def make_scheduler(*, num_blocks: int = 100, max_num_seqs: int = 4) -> Scheduler:
    limits = SchedulerLimits(
        max_num_seqs=max_num_seqs, max_num_batched_tokens=40, max_model_len=100
    )
    return Scheduler(limits, BlockManager(num_blocks, 4), frozenset())


def add(scheduler: Scheduler, seq_id: int, prompt_len: int = 4, max_tokens: int = 9) -> Sequence:
    seq = Sequence(seq_id, [seq_id] * prompt_len, SamplingParams(max_tokens=max_tokens))
    assert scheduler.add(seq) is None
    return seq


def step(scheduler: Scheduler) -> set[int]:
    plan = scheduler.schedule()
    scheduler.update(plan, [1] * len(plan.sampling))
    return {item.seq.seq_id for item in plan.scheduled}


def test_a_held_sequence_computes_nothing_keeps_its_blocks_and_goes_on():
    scheduler = make_scheduler()
    held, other = add(scheduler, 1), add(scheduler, 2)
    step(scheduler)
    scheduler.hold(held)
    blocks = list(held.block_table)
    assert step(scheduler) == step(scheduler) == {2}
    assert (held.num_output_tokens, held.block_table) == (1, blocks)
    assert scheduler.admitted == [other, held]
    scheduler.resume(held)
    assert step(scheduler) == {1, 2}
    assert scheduler.counters.num_preemptions == 0


def test_a_held_sequence_takes_no_place_in_the_batch_and_waits_for_one():
    scheduler = make_scheduler(max_num_seqs=1)
    held = add(scheduler, 1)
    step(scheduler)
    scheduler.hold(held)
    add(scheduler, 2, max_tokens=3)
    assert step(scheduler) == {2}
    scheduler.resume(held)
    assert [step(scheduler) for _ in range(3)] == [{2}, {2}, {1}]


def test_only_held_sequences_is_no_work():
    scheduler = make_scheduler()
    held = add(scheduler, 1)
    step(scheduler)
    scheduler.hold(held)
    assert not scheduler.has_work
    assert not scheduler.schedule().scheduled
    scheduler.resume(held)
    assert scheduler.has_work


def test_whoever_needs_blocks_takes_those_of_the_held_first():
    scheduler = make_scheduler(num_blocks=6)
    held = add(scheduler, 1, prompt_len=8, max_tokens=4)
    step(scheduler)
    scheduler.hold(held)
    newcomer = add(scheduler, 2, prompt_len=18, max_tokens=6)
    assert step(scheduler) == {2}
    assert not held.block_table
    assert newcomer.num_preemptions == 0
    scheduler.resume(held)
    while scheduler.has_work:
        step(scheduler)
    assert (held.num_output_tokens, newcomer.num_output_tokens) == (4, 6)
    assert scheduler.counters.num_preemptions == held.num_preemptions == 1


def test_a_decode_takes_the_blocks_of_a_held_sequence_and_not_of_a_running_one():
    scheduler = make_scheduler(num_blocks=5)
    held = add(scheduler, 1, prompt_len=7, max_tokens=2)
    running = [add(scheduler, seq_id, prompt_len=3, max_tokens=6) for seq_id in (2, 3)]
    step(scheduler)
    scheduler.hold(held)
    while scheduler.has_work:
        step(scheduler)
    assert held.num_preemptions == 1
    assert [seq.num_preemptions for seq in running] == [0, 0]


@pytest.mark.parametrize("has_blocks", [True, False])
def test_a_held_sequence_can_be_aborted_and_can_expire(has_blocks):
    for end in (Scheduler.abort, lambda scheduler, _: scheduler.expire(5.0)):
        scheduler = make_scheduler(num_blocks=6)
        seq = Sequence(1, [1] * 8, SamplingParams(max_tokens=9), deadline=5.0)
        assert scheduler.add(seq) is None
        step(scheduler)
        scheduler.hold(seq)
        if not has_blocks:
            newcomer = add(scheduler, 2, prompt_len=18, max_tokens=1)
            assert step(scheduler) == {2}
            assert newcomer.state is SequenceState.FINISHED
        assert bool(seq.block_table) is has_blocks
        assert scheduler.next_deadline == 5.0
        end(scheduler, seq)
        assert seq.state is SequenceState.FINISHED
        assert not scheduler.admitted
        assert not scheduler.has_work
        assert scheduler._blocks.num_used_blocks == 0


def test_holding_twice_or_the_wrong_one_does_nothing():
    scheduler = make_scheduler()
    seq = add(scheduler, 1, max_tokens=2)
    scheduler.hold(seq)  # has produced nothing: nobody can be slow to read it
    assert step(scheduler) == {1}
    scheduler.resume(seq)
    scheduler.hold(seq)
    scheduler.hold(seq)
    scheduler.resume(seq)
    scheduler.hold(seq)
    assert step(scheduler) == set()
    scheduler.resume(seq)
    assert step(scheduler) == {1}
    scheduler.hold(seq)
    scheduler.resume(seq)
    assert seq.state is SequenceState.FINISHED
    assert not scheduler.has_work


def test_who_is_held_is_forgotten_by_the_runner_and_an_empty_plan_forgets_nobody():
    scheduler = make_scheduler()
    held = add(scheduler, 1)
    step(scheduler)
    scheduler.hold(held)
    assert scheduler.schedule().released == []  # not run, so nobody would hear of it
    add(scheduler, 2)
    assert scheduler.schedule().released == [1]


def test_a_preempted_sequence_that_is_held_is_not_admitted():
    scheduler = make_scheduler(num_blocks=5)
    first, second = add(scheduler, 1, 8, 12), add(scheduler, 2, 7, 4)
    while not scheduler.counters.num_preemptions:
        step(scheduler)
    assert second.state is SequenceState.WAITING
    scheduler.hold(second)
    assert len(scheduler.waiting) == 0
    while first.state is not SequenceState.FINISHED:
        assert step(scheduler) == {1}
    assert not scheduler.has_work
    scheduler.resume(second)
    while scheduler.has_work:
        step(scheduler)
    assert second.num_output_tokens == 4


def test_expiry_says_who():
    scheduler = make_scheduler()
    assert scheduler.next_deadline == float("inf")
    seq = Sequence(1, [1], SamplingParams(max_tokens=9), deadline=5.0)
    assert scheduler.add(seq) is None
    assert scheduler.expire(4.9) == []
    assert scheduler.expire(5.0) == [Expired(seq, while_queued=False)]
