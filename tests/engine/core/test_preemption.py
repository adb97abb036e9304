"""Whose blocks are taken: the cheapest to compute again, and never the same one for ever."""

import pytest

from engine_fakes import FakeRunner, reference
from pagelet_engine.core.block_manager import BlockManager
from pagelet_engine.core.preemption import cheapest_victim
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.core.scheduler import Scheduler, SchedulerLimits
from pagelet_engine.core.sequence import Sequence


def _running(blocks: BlockManager, arrival: int, tokens: list[int], computed: int) -> Sequence:
    seq = Sequence(arrival, tokens, SamplingParams(max_tokens=1), arrival=arrival)
    blocks.begin(seq)
    blocks.name_full_blocks(seq, computed)
    seq.num_computed_tokens = max(computed, seq.num_computed_tokens)
    return seq


def test_the_least_computed_goes_first_and_shared_blocks_count_as_kept():
    blocks = BlockManager(40, 4)
    old = _running(blocks, 1, [1] * 8, 7)
    halfway = _running(blocks, 2, [2] * 30, 5)
    long = _running(blocks, 3, [3] * 20, 19)
    assert cheapest_victim([old, halfway, long], blocks, max_preemptions=3) is halfway
    fork = _running(blocks, 4, [3] * 17, 16)  # shares four blocks, computes its fifth
    assert cheapest_victim([old, long, fork], blocks, max_preemptions=3) is fork
    assert cheapest_victim([old, long], blocks, max_preemptions=3) is long  # 19 - 16 shared
    twin = _running(blocks, 5, [1] * 8, 7)
    twin.num_computed_tokens = old.num_computed_tokens
    assert cheapest_victim([old, twin], blocks, max_preemptions=3) is twin


def test_who_was_preempted_often_enough_is_spared_and_the_oldest_of_them_most():
    blocks = BlockManager(40, 4)
    seqs = [_running(blocks, n, [n] * 9, n) for n in (1, 2, 3)]
    first, second, third = seqs
    first.num_preemptions = second.num_preemptions = 2
    assert cheapest_victim(seqs, blocks, max_preemptions=2) is third
    assert cheapest_victim(seqs, blocks, max_preemptions=3) is first
    third.num_preemptions = 2
    assert cheapest_victim(seqs, blocks, max_preemptions=2) is third
    assert cheapest_victim([first, second], blocks, max_preemptions=2) is second


@pytest.mark.parametrize("caches_prefixes", [True, False])
def test_500_requests_on_a_pool_hardly_larger_than_one_give_what_they_give_alone(
    caches_prefixes: bool,
):
    block_size, num_requests, longest = 4, 500, 40
    num_blocks = round(1.1 * longest / block_size)
    limits = SchedulerLimits(max_num_seqs=16, max_num_batched_tokens=32, max_model_len=longest)
    blocks = BlockManager(num_blocks, block_size, caches_prefixes=caches_prefixes)
    scheduler, runner = Scheduler(limits, blocks, frozenset()), FakeRunner(block_size)
    seqs = []
    for number in range(num_requests):
        prompt = [number % 7] * (1 + number % 5) + [number % 96]
        num_output = longest - len(prompt) if number % 50 == 0 else 3 + number % 20
        seqs.append(Sequence(number, prompt, SamplingParams(max_tokens=num_output)))
        assert scheduler.add(seqs[-1]) is None
    prompts = [list(seq.token_ids) for seq in seqs]
    while scheduler.has_work:
        plan = scheduler.schedule()
        scheduler.update(plan, runner.run(plan))
        assert scheduler.counters.num_steps < 50_000, "livelock"
    blocks.check([])
    for seq, prompt in zip(seqs, prompts, strict=True):
        assert seq.output_token_ids == reference(prompt, seq.sampling.max_tokens, max_len=longest)
    assert scheduler.counters.num_preemptions > 10, "no pressure, no proof"
