"""The policy, one decision at a time."""

from pagelet_engine.core.block_manager import BlockManager
from pagelet_engine.core.finish import FinishReason
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.core.scheduler import Scheduler, SchedulerLimits
from pagelet_engine.core.sequence import Sequence, SequenceState
from pagelet_engine.core.step_plan import StepPlan


def _scheduler(*, num_blocks: int = 100, budget: int = 10, max_num_seqs: int = 4) -> Scheduler:
    limits = SchedulerLimits(
        max_num_seqs=max_num_seqs, max_num_batched_tokens=budget, max_model_len=100
    )
    return Scheduler(limits, BlockManager(num_blocks, 4), frozenset())


def _add(
    scheduler: Scheduler, seq_id: int, num_prompt_tokens: int, max_tokens: int = 9
) -> Sequence:
    # Prompts have nothing in common unless a test says so.
    seq = Sequence(seq_id, [seq_id] * num_prompt_tokens, SamplingParams(max_tokens=max_tokens))
    assert scheduler.add(seq) is None
    return seq


def _planned(plan: StepPlan) -> list[tuple[int, int]]:
    return [(item.seq.seq_id, item.num_tokens) for item in plan.scheduled]


def _step(scheduler: Scheduler) -> list[tuple[int, int]]:
    plan = scheduler.schedule()
    scheduler.update(plan, [1] * len(plan.sampling))
    return _planned(plan)


def test_a_long_prompt_is_chunked_and_decodes_go_first():
    scheduler = _scheduler()
    _add(scheduler, 1, 4)
    _add(scheduler, 2, 25)
    assert _step(scheduler) == [(1, 4), (2, 6)]
    assert _step(scheduler) == [(1, 1), (2, 9)]
    assert _step(scheduler) == [(1, 1), (2, 9)]
    assert _step(scheduler) == [(1, 1), (2, 1)]


def test_admission_keeps_the_order_of_arrival():
    scheduler = _scheduler(num_blocks=6, budget=40)
    _add(scheduler, 1, 8)
    big = _add(scheduler, 2, 16, max_tokens=1)
    small = _add(scheduler, 3, 1, max_tokens=1)
    assert _step(scheduler) == [(1, 8)]
    # Three blocks are not enough for the second; the third would fit, but may not overtake.
    assert big.state is small.state is SequenceState.WAITING


def test_a_full_pool_preempts_the_cheapest_which_starts_over_first():
    scheduler = _scheduler(num_blocks=5, budget=40)
    first, second = _add(scheduler, 1, 8, max_tokens=12), _add(scheduler, 2, 7)
    third = _add(scheduler, 3, 1)
    while not scheduler.counters.num_preemptions:
        _step(scheduler)
    assert first.state is SequenceState.RUNNING
    assert second.state is SequenceState.WAITING
    assert not second.block_table
    assert scheduler.waiting.peek() is second
    assert third.state is SequenceState.WAITING
    while scheduler.has_work:
        _step(scheduler)
    assert [s.num_output_tokens for s in (first, second, third)] == [12, 9, 9]
    assert scheduler.counters.num_recomputed_tokens > 0


def test_a_plan_names_whose_blocks_went_back():
    scheduler = _scheduler()
    seq = _add(scheduler, 1, 4)
    _add(scheduler, 2, 4)
    assert scheduler.schedule().released == []
    scheduler.abort(seq)
    assert scheduler.schedule().released == [1]
    assert scheduler.schedule().released == []


def test_aborting_works_in_every_state_and_twice():
    scheduler = _scheduler(max_num_seqs=1)
    running, waiting = _add(scheduler, 1, 4), _add(scheduler, 2, 4)
    scheduler.schedule()
    for seq in (waiting, running, running):
        scheduler.abort(seq)
        assert seq.finish_reason is FinishReason.ABORT
    assert not scheduler.has_work


def test_what_could_never_finish_is_refused_with_its_numbers():
    scheduler = _scheduler(num_blocks=3)
    sampling = SamplingParams(max_tokens=5)
    assert "empty" in str(scheduler.add(Sequence(1, [], sampling)))
    assert "100 tokens" in str(scheduler.add(Sequence(1, [1] * 100, sampling)))
    assert "4 KV blocks" in str(scheduler.add(Sequence(1, [1] * 9, sampling)))
    assert scheduler.add(Sequence(1, [1] * 8, sampling)) is None
