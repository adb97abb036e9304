"""The policy, one decision at a time."""

from pagelet_engine.core.admission import AdmissionLimits
from pagelet_engine.core.block_manager import BlockManager
from pagelet_engine.core.draw import NoToken
from pagelet_engine.core.finish import ErrorKind, FinishReason
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


def test_forks_of_one_prompt_wait_a_step_and_share_its_full_blocks():
    scheduler = _scheduler(budget=40)
    forks = [Sequence(n, [5] * 11, SamplingParams(max_tokens=9)) for n in (1, 2, 3)]
    for seq in forks:
        assert scheduler.add(seq) is None
    assert _step(scheduler) == [(1, 11)]
    assert _step(scheduler) == [(1, 1), (2, 3), (3, 3)]
    assert [seq.num_cached_tokens for seq in forks] == [0, 8, 8]
    assert len({tuple(seq.block_table[:2]) for seq in forks}) == 1
    assert len({seq.block_table[2] for seq in forks}) == 3
    counters = scheduler.counters
    assert (counters.num_prefix_query_tokens, counters.num_prefix_hit_tokens) == (33, 16)
    assert counters.num_prompt_tokens == 17


def test_what_ended_on_numbers_that_are_not_is_never_found_again():
    scheduler = _scheduler()
    bad = Sequence(1, [5] * 9, SamplingParams(max_tokens=2))
    assert scheduler.add(bad) is None
    scheduler.update(scheduler.schedule(), [NoToken.NOT_FINITE])
    assert bad.finish_reason is FinishReason.ERROR
    again = Sequence(2, [5] * 9, SamplingParams(max_tokens=2))
    assert scheduler.add(again) is None
    assert _step(scheduler) == [(2, 9)]


def test_deadlines_free_blocks_in_any_state_and_a_queue_time_out_only_those_that_wait():
    limits = SchedulerLimits(max_num_seqs=2, max_num_batched_tokens=10, max_model_len=100)
    blocks = BlockManager(100, 4)
    scheduler = Scheduler(limits, blocks, frozenset(), AdmissionLimits(queue_timeout_s=5.0))
    decoding = _add(scheduler, 1, 4, max_tokens=90)
    timed = Sequence(2, [2] * 20, SamplingParams(max_tokens=9), deadline=3.0)
    assert scheduler.add(timed, 1.0) is None
    waiting = _add(scheduler, 3, 4)
    hurried = Sequence(4, [4] * 4, SamplingParams(max_tokens=9), deadline=2.0)
    assert scheduler.add(hurried, 1.0) is None
    _step(scheduler)
    assert scheduler.expire(1.9) == []
    assert [(e.seq, e.while_queued) for e in scheduler.expire(2.0)] == [(hurried, False)]
    assert [e.seq for e in scheduler.expire(3.5)] == [timed]
    assert not timed.block_table
    assert blocks.num_used_blocks == len(decoding.block_table)
    late = _add(scheduler, 5, 4)
    scheduler.abort(late)
    assert [(e.seq, e.while_queued) for e in scheduler.expire(6.0)] == [(waiting, True)]
    assert decoding.state is SequenceState.RUNNING
    assert scheduler.counters.num_expired == 3
    refusal = scheduler.add(Sequence(6, [1], SamplingParams(max_tokens=1), deadline=6.0), 6.0)
    assert refusal is not None
    assert refusal.kind is ErrorKind.TIMEOUT


def test_a_queue_that_moves_too_slowly_for_a_deadline_refuses_at_once():
    scheduler = _scheduler(max_num_seqs=1)
    _add(scheduler, 1, 10, max_tokens=50)
    plan = scheduler.schedule()
    scheduler.update(plan, [1])
    scheduler.observe(plan, 2.0)  # ten prompt tokens in two seconds
    _add(scheduler, 2, 10)
    hopeless = Sequence(3, [3] * 10, SamplingParams(max_tokens=1), deadline=3.0)
    refusal = scheduler.add(hopeless, 0.0)
    assert refusal is not None
    assert (refusal.kind, refusal.retry_after_s) == (ErrorKind.OVERLOADED, 1.0)
    patient = Sequence(3, [3] * 10, SamplingParams(max_tokens=1), deadline=4.5)
    assert scheduler.add(patient, 0.0) is None
