"""Continuous batching: decides which tokens the next forward pass computes.

There is no prefill phase and no decode phase. A sequence has `num_tokens` and
`num_computed_tokens`; each step moves the second towards the first, as far as the token budget
and the block pool allow. A prompt is many tokens behind, a decoding sequence exactly one.

Who gets what: every decoding sequence its token in every step; then prompts already begun; then
admissions in the order of `FairQueue`. All blocks of a prompt are taken on admission, so only a
decoding sequence can find the pool full, and then the cheapest other one is preempted, one that is
held back for its reader before any that runs (`Residents`).

Why a full pool cannot deadlock: `add` refuses what could not finish with the pool to itself, and
preemption takes the unprotected first, of which each is taken at most `max_preemptions` times
before it is protected; among the protected the oldest is never taken, so it finishes. Who is held
keeps nothing that another needs. Why nobody starves: preempted sequences are admitted before all
others, oldest first, and nobody overtakes whose turn it is.
"""

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

from pagelet_engine.core.admission import (
    AdmissionLimits,
    Load,
    Refusal,
    impossible,
    refuse,
)
from pagelet_engine.core.block_manager import BlockManager
from pagelet_engine.core.deadlines import Deadlines, Expired
from pagelet_engine.core.draw import Draw, NoToken
from pagelet_engine.core.fair_queue import FairQueue
from pagelet_engine.core.finish import ErrorKind, FinishReason
from pagelet_engine.core.pace import Pace
from pagelet_engine.core.residents import Residents
from pagelet_engine.core.sequence import Sequence, SequenceState
from pagelet_engine.core.stats import Counters
from pagelet_engine.core.step_budget import PromptBudget
from pagelet_engine.core.step_plan import StepPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerLimits:
    """What one step and one sequence may take."""

    max_num_seqs: int
    """Most sequences running at once."""
    max_num_batched_tokens: int
    """Most tokens in one step; at least max_num_seqs, so that all running ones can decode."""
    max_model_len: int
    """Most tokens of prompt plus output of one sequence."""
    target_itl_s: float | None = None
    """Longest step while sequences decode, at the 99th percentile, seconds; None for no limit."""
    max_preemptions: int = 3
    """Times a sequence may be preempted before others are taken instead."""

    def __post_init__(self) -> None:
        assert 0 < self.max_num_seqs <= self.max_num_batched_tokens
        assert self.max_model_len > 1
        assert self.target_itl_s is None or self.target_itl_s > 0


@dataclass(frozen=True, slots=True)
class SequenceUpdate:
    """What one step did to one sequence."""

    seq: Sequence
    draw: Draw
    """The new token, or why there is none, which ends the sequence."""


class Scheduler:
    """Owns the queues and the block pool; each call takes time O(sequences in the step)."""

    def __init__(
        self,
        limits: SchedulerLimits,
        blocks: BlockManager,
        eos_token_ids: frozenset[int],
        admission: AdmissionLimits | None = None,
    ) -> None:
        """Start with nothing to do.

        Args:
            limits: What a step may take.
            blocks: The pool; nobody else touches it.
            eos_token_ids: Tokens that end any sequence.
            admission: What may wait; None for no limits.
        """
        self._limits = limits
        self._blocks = blocks
        self._eos_token_ids = eos_token_ids
        self._admission = admission or AdmissionLimits()
        self._deadlines = Deadlines(self._admission.queue_timeout_s)
        self._pace = Pace(limits.target_itl_s)
        self._num_arrivals = 0
        self.waiting = FairQueue()
        self.counters = Counters()
        self._residents = Residents(
            blocks,
            self.waiting,
            self.counters,
            max_num_seqs=limits.max_num_seqs,
            max_preemptions=limits.max_preemptions,
        )

    @property
    def running(self) -> list[Sequence]:
        """The sequences that may be part of the next step."""
        return self._residents.running

    @property
    def admitted(self) -> list[Sequence]:
        """The running sequences and those held back for their readers."""
        return self._residents.all()

    @property
    def has_work(self) -> bool:
        """Whether a step would compute anything."""
        return self._residents.have_work or bool(self.waiting)

    @property
    def next_deadline(self) -> float:
        """When `expire` may find something, seconds; infinity if nothing can run out of time."""
        return self._deadlines.next_at

    def add(self, seq: Sequence, now: float = 0.0) -> Refusal | None:
        """Queue a sequence that arrives at `now`, or return why not.

        Refusing what could never finish is what makes `schedule` free of deadlock.
        """
        problem = impossible(seq, self._blocks, self._limits.max_model_len)
        if problem is not None:
            return Refusal(ErrorKind.INVALID, problem)
        if seq.deadline is not None and seq.deadline <= now:
            return Refusal(ErrorKind.TIMEOUT, "The request's deadline passed before it arrived.")
        seq.num_queued_tokens = seq.num_tokens - self._blocks.num_cached_tokens(seq)
        refusal = refuse(
            self._admission,
            self._load(),
            num_new_tokens=seq.num_queued_tokens,
            patience_s=None if seq.deadline is None else seq.deadline - now,
            tokens_per_second=self._pace.tokens_per_second,
        )
        if refusal is not None:
            return refusal
        self._num_arrivals += 1
        seq.arrival, seq.arrived_at = self._num_arrivals, now
        self.waiting.push(seq)
        self._deadlines.watch(seq)
        return None

    def abort(self, seq: Sequence) -> None:
        """End a sequence now and free its blocks; one that has finished is left alone."""
        self._remove(seq, FinishReason.ABORT)

    def hold(self, seq: Sequence) -> None:
        """Produce nothing more of `seq` until `resume`: its reader does not keep up."""
        self._residents.hold(seq)

    def resume(self, seq: Sequence) -> None:
        """Let a held sequence go on; nothing happens if it is not held."""
        self._residents.resume(seq)

    def expire(self, now: float) -> list[Expired]:
        """End the sequences whose time is over at `now`, and return them."""
        expired = self._deadlines.pop_expired(now)
        for item in expired:
            self._remove(item.seq, FinishReason.ERROR)
        self.counters.num_expired += len(expired)
        return expired

    def schedule(self) -> StepPlan:
        """Plan the next forward pass; the plan is empty if there is nothing to do.

        Running sequences come first, so a newcomer's prefill never delays a token somebody is
        already waiting to read (ITL before TTFT).
        """
        plan = StepPlan(budget=self._limits.max_num_batched_tokens)
        self._residents.take_returning()
        preempted = self._residents.secure_decodes()
        decodes = [seq for seq in self.running if seq.num_uncomputed_tokens == 1]
        for seq in decodes:
            plan.add(seq, 1)
        budget = self._pace.prompt_budget(decodes)
        # A full pool: admitting now would only thrash. A prompt still unfinished: the step is full.
        if self._continue_prompts(plan, budget) and not preempted:
            self._admit_waiting(plan, budget)
        if plan.scheduled:  # nobody computes an empty plan, so nobody would hear of it
            plan.released = self._residents.take_released()
        return plan

    def update(self, plan: StepPlan, draws: SequenceOf[Draw]) -> list[SequenceUpdate]:
        """Record that `plan` was computed.

        Args:
            plan: What the last `schedule` returned.
            draws: One per item of `plan.sampling`.

        Returns:
            The sequences that got a token or ended, in order.
        """
        self.counters.num_steps += 1
        sampling = plan.sampling
        for item in plan.scheduled:
            self.waiting.charge(item.seq, self.counters.count(item))
            item.seq.num_computed_tokens += item.num_tokens
        return [self._accept(item.seq, draw) for item, draw in zip(sampling, draws, strict=True)]

    def observe(self, plan: StepPlan, seconds: float) -> None:
        """Learn from the time that `plan` took, planning included."""
        if seconds > 0 and plan.scheduled:
            self._pace.observe(plan, seconds, has_backlog=bool(self.waiting))

    def _load(self) -> Load:
        prefill = sum(max(0, seq.num_uncomputed_tokens - 1) for seq in self.running)
        return Load(
            num_queued=len(self.waiting),
            num_running=len(self._residents),
            num_queued_tokens=self.waiting.num_tokens,
            num_prefill_tokens=prefill,
        )

    def _continue_prompts(self, plan: StepPlan, budget: PromptBudget | None) -> bool:
        """Plan chunks of prompts already begun; return whether all will be done."""
        all_done = True
        for seq in self.running:
            num_wanted = seq.num_uncomputed_tokens
            if num_wanted > 1:
                num_tokens = self._chunk(plan, budget, seq.num_computed_tokens, num_wanted)
                all_done = all_done and num_tokens == num_wanted
                if num_tokens:
                    plan.add(seq, num_tokens)
        return all_done

    def _admit_waiting(self, plan: StepPlan, budget: PromptBudget | None) -> None:
        while plan.budget and self._residents.has_place:
            seq = self.waiting.peek()
            if seq is None or not self._residents.make_room(seq):
                return
            if self._blocks.awaits(seq, self.running):
                return
            start = self._blocks.num_cached_tokens(seq)
            num_tokens = self._chunk(plan, budget, start, seq.num_tokens - start)
            if not num_tokens:
                return  # it would hold blocks and do nothing
            self.waiting.remove(seq)
            self._begin(seq)
            plan.add(seq, num_tokens)
            if seq.num_uncomputed_tokens > num_tokens:
                return

    def _begin(self, seq: Sequence) -> None:
        num_cached = self._residents.admit(seq)
        if seq.num_cached_tokens is None:
            seq.num_cached_tokens = num_cached
            self.counters.num_prefix_query_tokens += seq.num_prompt_tokens
            self.counters.num_prefix_hit_tokens += num_cached
            # At once, so that a tenant that was served little cannot take every free place.
            self.waiting.charge(seq, seq.num_uncomputed_tokens)

    def _chunk(
        self, plan: StepPlan, budget: PromptBudget | None, start: int, num_wanted: int
    ) -> int:
        """Take from the budgets what they allow of a prompt's next tokens; return how many."""
        num_tokens = min(num_wanted, plan.budget)
        if num_tokens and budget is not None:
            num_tokens = budget.take_chunk(start, num_tokens)
        return num_tokens

    def _accept(self, seq: Sequence, draw: Draw) -> SequenceUpdate:
        if isinstance(draw, NoToken):
            self._end(seq, FinishReason.ERROR)
            return SequenceUpdate(seq, draw)
        self.counters.num_output_tokens += 1
        self._blocks.name_full_blocks(seq, seq.num_computed_tokens)
        reason = seq.append_token(
            draw,
            eos_token_ids=self._eos_token_ids,
            max_model_len=self._limits.max_model_len,
        )
        if reason is not None:
            self._end(seq, reason)
        return SequenceUpdate(seq, draw)

    def _remove(self, seq: Sequence, reason: FinishReason) -> None:
        if seq.state is not SequenceState.FINISHED:
            self._end(seq, reason)

    def _end(self, seq: Sequence, reason: FinishReason) -> None:
        if seq.state is SequenceState.WAITING:
            self.waiting.remove(seq)
        else:
            self._residents.leave(seq)
        self._residents.release(seq)
        seq.finish(reason)
        self.waiting.leave(seq)
        self._deadlines.note_end(seq)
