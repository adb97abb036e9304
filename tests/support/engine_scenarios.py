"""Random work for a scheduler: what arrives, what leaves early, and how little room there is."""

from dataclasses import dataclass

from hypothesis import strategies as st

from engine_fakes import POISON, VOCAB_SIZE, reference
from pagelet_engine.core.block_manager import BlockManager
from pagelet_engine.core.finish import FinishReason
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.core.scheduler import Scheduler, SchedulerLimits
from pagelet_engine.core.sequence import Sequence, SequenceState
from pagelet_engine.core.step_plan import StepPlan
from pagelet_engine.engine import Runner

EOS = 5


@dataclass(frozen=True)
class Request:
    prompt: list[int]
    max_tokens: int
    ignore_eos: bool
    arrives_at_step: int
    aborted_at_step: int | None
    tenant: str = ""
    weight: float = 1.0
    priority: int = 0
    held_at_step: int | None = None
    held_for_steps: int = 0

    @property
    def salt(self) -> bytes:
        return self.tenant.encode()


@dataclass(frozen=True)
class Scenario:
    num_blocks: int
    block_size: int
    limits: SchedulerLimits
    requests: list[Request]
    caches_prefixes: bool


tokens = st.integers(0, POISON - 1)
poisoned = st.integers(0, 30).map(lambda n: POISON if n == 0 else n % POISON)


@st.composite
def relatives(draw: st.DrawFn) -> list[int]:
    """Draw prompts with common beginnings, and tails that can be equal as well."""
    family = list(range(7, 7 + draw(st.integers(0, 20))))
    return family + draw(st.lists(st.integers(0, 1), max_size=6))


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    max_num_seqs = draw(st.integers(1, 6))
    limits = SchedulerLimits(
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_seqs + draw(st.integers(0, 24)),
        max_model_len=draw(st.integers(2, 60)),
        target_itl_s=draw(st.sampled_from([None, 0.001, 1.0])),
        max_preemptions=draw(st.integers(0, 3)),
    )
    requests = st.builds(
        Request,
        prompt=st.one_of(st.lists(st.one_of(tokens, poisoned), max_size=30), relatives()),
        max_tokens=st.integers(1, 25),
        ignore_eos=st.booleans(),
        arrives_at_step=st.integers(0, 12),
        aborted_at_step=st.one_of(st.none(), st.none(), st.integers(0, 20)),
        tenant=st.sampled_from(["", "a"]),
        weight=st.sampled_from([1.0, 3.0]),
        priority=st.integers(0, 2),
        held_at_step=st.one_of(st.none(), st.integers(0, 20)),
        held_for_steps=st.integers(0, 20),
    )
    return Scenario(
        num_blocks=draw(st.integers(1, 24)),
        block_size=draw(st.sampled_from([1, 2, 3, 4, 8])),
        limits=limits,
        caches_prefixes=draw(st.integers(0, 3)) > 0,
        requests=sorted(
            draw(st.lists(requests, min_size=1, max_size=8)), key=lambda r: r.arrives_at_step
        ),
    )


def run_scenario(scenario: Scenario, runner: Runner) -> None:
    """Play a scenario and check every invariant after every step, then every output."""
    blocks = BlockManager(
        scenario.num_blocks, scenario.block_size, caches_prefixes=scenario.caches_prefixes
    )
    scheduler = Scheduler(scenario.limits, blocks, frozenset({EOS}))
    seqs: dict[int, Sequence] = {}
    refused: dict[int, str] = {}
    num_steps, last_event = 0, max(_last_event(request) for request in scenario.requests)
    while num_steps <= last_event or scheduler.has_work:
        _arrive(scenario, num_steps, scheduler, seqs, refused)
        for index, request in enumerate(scenario.requests):
            if request.aborted_at_step == num_steps and index in seqs:
                scheduler.abort(seqs[index])
        _hold(scenario, num_steps, scheduler, seqs)
        blocks.check(seqs.values())
        if scheduler.has_work:
            _step(scenario, scheduler, blocks, runner, seqs)
        num_steps += 1
        assert num_steps < 5000, "livelock"
    assert blocks.num_free_blocks == scenario.num_blocks, "leaked"
    _check_counters(scheduler, seqs)
    for index, request in enumerate(scenario.requests):
        if index in seqs:
            _check_output(scenario, request, seqs[index])
        else:
            _check_refusal(scenario, request, refused[index])


def _last_event(request: Request) -> int:
    return max(request.arrives_at_step, (request.held_at_step or 0) + request.held_for_steps)


def _hold(scenario: Scenario, step: int, scheduler: Scheduler, seqs: dict[int, Sequence]) -> None:
    for index, request in enumerate(scenario.requests):
        if index in seqs and request.held_at_step is not None:
            if step == request.held_at_step:
                scheduler.hold(seqs[index])
            if step == request.held_at_step + request.held_for_steps:
                scheduler.resume(seqs[index])


def _arrive(
    scenario: Scenario,
    step: int,
    scheduler: Scheduler,
    seqs: dict[int, Sequence],
    refused: dict[int, str],
) -> None:
    for index, request in enumerate(scenario.requests):
        if request.arrives_at_step == step:
            sampling = SamplingParams(max_tokens=request.max_tokens, ignore_eos=request.ignore_eos)
            seq = Sequence(
                index,
                list(request.prompt),
                sampling,
                cache_salt=request.salt,
                tenant=request.tenant,
                weight=request.weight,
                priority=request.priority,
            )
            problem = scheduler.add(seq)
            if problem is None:
                seqs[index] = seq
            else:
                refused[index] = problem.message


def _step(
    scenario: Scenario,
    scheduler: Scheduler,
    blocks: BlockManager,
    runner: Runner,
    seqs: dict[int, Sequence],
) -> None:
    limits = scenario.limits
    plan = scheduler.schedule()
    assert plan.scheduled, "work, but an empty step"
    assert plan.num_tokens <= limits.max_num_batched_tokens
    assert len(scheduler.running) <= limits.max_num_seqs
    planned = {item.seq.seq_id for item in plan.scheduled}
    assert not any(item.seq.state is SequenceState.HELD for item in plan.scheduled)
    decoding = [seq for seq in scheduler.running if seq.num_uncomputed_tokens == 1]
    assert all(seq.seq_id in planned for seq in decoding), "a decode was left out"
    _check_queues(scheduler)
    _check_writes(plan, blocks)
    assert planned <= {seq.seq_id for seq in scheduler.running}
    blocks.check(seqs.values())
    scheduler.update(plan, runner.run(plan))
    # Longer steps for more tokens, so that a target for ITL has something to learn from.
    scheduler.observe(plan, 0.0005 + plan.num_tokens * 0.0001)
    blocks.check(seqs.values())
    for seq in seqs.values():
        if seq.state is SequenceState.FINISHED:
            assert not seq.block_table
        else:
            assert seq.num_computed_tokens < seq.num_tokens
            assert seq.num_named_blocks * blocks.block_size <= seq.num_computed_tokens


def _check_queues(scheduler: Scheduler) -> None:
    assert all(seq.block_table for seq in scheduler.running)
    assert not any(seq.block_table for seq in scheduler.waiting)
    assert len(scheduler.waiting) == len(list(scheduler.waiting))
    assert all(seq.num_computed_tokens < seq.num_tokens for seq in scheduler.running)


def _check_writes(plan: StepPlan, blocks: BlockManager) -> None:
    written: set[tuple[int, int]] = set()
    for item in plan.scheduled:
        for position in range(item.start, item.start + item.num_tokens):
            slot = item.seq.block_table[position // blocks.block_size], position % blocks.block_size
            assert slot not in written, "two sequences write one slot"
            written.add(slot)


def _check_output(scenario: Scenario, request: Request, seq: Sequence) -> None:
    eos = None if request.ignore_eos else EOS
    expected = reference(
        request.prompt, request.max_tokens, eos=eos, max_len=scenario.limits.max_model_len
    )
    assert seq.state is SequenceState.FINISHED
    if seq.finish_reason is FinishReason.ABORT:
        assert request.aborted_at_step is not None
        assert seq.output_token_ids == expected[: seq.num_output_tokens]
        return
    assert seq.output_token_ids == expected
    if POISON in request.prompt:
        assert seq.finish_reason is FinishReason.ERROR
    elif expected and expected[-1] == eos:
        assert seq.finish_reason is FinishReason.STOP
    else:
        assert seq.finish_reason is FinishReason.LENGTH


def _check_refusal(scenario: Scenario, request: Request, problem: str) -> None:
    max_len = scenario.limits.max_model_len
    num_slots = min(len(request.prompt) + request.max_tokens, max_len) - 1
    capacity = scenario.num_blocks * scenario.block_size
    impossible = not request.prompt or len(request.prompt) >= max_len or num_slots > capacity
    assert impossible, f"refused without need: {problem}"


def _check_counters(scheduler: Scheduler, seqs: dict[int, Sequence]) -> None:
    counters = scheduler.counters
    assert counters.num_output_tokens == sum(seq.num_output_tokens for seq in seqs.values())
    whole_prompts = sum(seq.num_prompt_tokens for seq in seqs.values() if seq.num_output_tokens)
    assert whole_prompts <= counters.num_prompt_tokens + counters.num_prefix_hit_tokens
    assert counters.num_prompt_tokens <= sum(seq.num_prompt_tokens for seq in seqs.values())
    assert counters.num_preemptions == sum(seq.num_preemptions for seq in seqs.values())
    if counters.num_preemptions == 0:
        assert counters.num_recomputed_tokens == 0


assert VOCAB_SIZE == POISON + 1
