"""Continuous batching: decides which tokens the next forward pass computes.

There is no prefill phase and no decode phase. A sequence has `num_tokens` and
`num_computed_tokens`; each step moves the second towards the first, as far as the token budget
and the block pool allow. A prompt is many tokens behind, a decoding sequence exactly one.

INVARIANT: every running sequence arrived before every waiting one, and both queues are in order
of arrival. So a prompt still being computed is always the last running sequence, decoding ones
come before it, and the victim of a preemption is simply the last.

Why a full pool cannot deadlock: `add` refuses what could not finish with the pool to itself, and
the oldest running sequence may preempt all others. Why nobody starves: preemption puts a
sequence back at the front, admission takes from the front only.
"""

from collections import OrderedDict
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

from pagelet_engine.core.block_manager import BlockManager
from pagelet_engine.core.finish import FinishReason
from pagelet_engine.core.sequence import Sequence, SequenceState
from pagelet_engine.core.stats import Counters
from pagelet_engine.core.step_plan import ScheduledSequence, StepPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerLimits:
    """What one step and one sequence may take."""

    max_num_seqs: int
    """Most sequences running at once."""
    max_num_batched_tokens: int
    """Most tokens in one step; at least max_num_seqs, so that all running ones can decode."""
    max_model_len: int
    """Most tokens of prompt plus output of one sequence."""

    def __post_init__(self) -> None:
        assert 0 < self.max_num_seqs <= self.max_num_batched_tokens
        assert self.max_model_len > 1


@dataclass(frozen=True, slots=True)
class SequenceUpdate:
    """What one step did to one sequence."""

    seq: Sequence
    token_id: int | None
    """The new token; None when its logits were not finite, which ends the sequence."""


class Scheduler:
    """Owns the queues and the block pool; each call takes time O(sequences in the step)."""

    def __init__(
        self, limits: SchedulerLimits, blocks: BlockManager, eos_token_ids: frozenset[int]
    ) -> None:
        self._limits = limits
        self._blocks = blocks
        self._eos_token_ids = eos_token_ids
        self._released: list[int] = []
        self.waiting: OrderedDict[int, Sequence] = OrderedDict()
        self.running: list[Sequence] = []
        self.counters = Counters()

    @property
    def has_work(self) -> bool:
        """Whether a step would compute anything."""
        return bool(self.running or self.waiting)

    def add(self, seq: Sequence) -> str | None:
        """Queue a sequence, or return the sentence why it could never finish.

        Refusing here is what makes `schedule` free of deadlock.
        """
        max_len = self._limits.max_model_len
        if not seq.token_ids:
            return "The prompt is empty; at least one token is needed."
        if seq.num_prompt_tokens >= max_len:
            return (
                f"The prompt has {seq.num_prompt_tokens} tokens; at most {max_len - 1} fit, since "
                f"prompt and output together may take {max_len}."
            )
        # The last token of the output is never fed back, so it needs no slot.
        num_slots = min(seq.num_prompt_tokens + seq.sampling.max_tokens, max_len) - 1
        num_needed = self._blocks.num_blocks_for(num_slots)
        if num_needed > self._blocks.num_blocks:
            return (
                f"Prompt and output need {num_needed} KV blocks of {self._blocks.block_size} "
                f"tokens, but the whole cache has {self._blocks.num_blocks}. Ask for fewer tokens."
            )
        assert seq.seq_id not in self.waiting
        self.waiting[seq.seq_id] = seq
        return None

    def abort(self, seq: Sequence) -> None:
        """End a sequence now and free its blocks; one that has finished is left alone."""
        match seq.state:
            case SequenceState.WAITING:
                del self.waiting[seq.seq_id]
            case SequenceState.RUNNING:
                self.running.remove(seq)
            case SequenceState.FINISHED:
                return
        self._end(seq, FinishReason.ABORT)

    def schedule(self) -> StepPlan:
        """Plan the next forward pass.

        Running sequences come first, so a newcomer's prefill never delays a token somebody is
        already waiting to read (ITL before TTFT). What is left of the budget admits waiting
        sequences in arrival order, and the last prompt is chunked to fit.
        """
        plan = StepPlan(budget=self._limits.max_num_batched_tokens)
        preempted = self._schedule_running(plan)
        if not preempted:  # the pool is full: admitting now would only thrash
            self._admit_waiting(plan)
        plan.released, self._released = self._released, plan.released
        return plan

    def update(self, plan: StepPlan, token_ids: SequenceOf[int | None]) -> list[SequenceUpdate]:
        """Record that `plan` was computed.

        Args:
            plan: What the last `schedule` returned.
            token_ids: One per item of `plan.sampling`; None where the logits were not finite.

        Returns:
            The sequences that got a token or ended, in order.
        """
        self.counters.num_steps += 1
        sampling = plan.sampling
        for item in plan.scheduled:
            self._count(item)
            item.seq.num_computed_tokens += item.num_tokens
        updates = [
            self._accept(item.seq, token) for item, token in zip(sampling, token_ids, strict=True)
        ]
        if any(update.seq.state is SequenceState.FINISHED for update in updates):
            self.running = [seq for seq in self.running if seq.state is SequenceState.RUNNING]
        return updates

    def _schedule_running(self, plan: StepPlan) -> bool:
        """Give each running sequence its tokens; return whether one had to be preempted."""
        preempted = False
        index = 0
        while index < len(self.running) and plan.budget:
            seq = self.running[index]
            num_tokens = min(seq.num_uncomputed_tokens, plan.budget)
            while not self._blocks.append_slots(seq, num_tokens):
                preempted = True
                if self._preempt_youngest() is seq:
                    return True
            plan.add(seq, num_tokens)
            index += 1
        return preempted

    def _admit_waiting(self, plan: StepPlan) -> None:
        while self.waiting and plan.budget and len(self.running) < self._limits.max_num_seqs:
            seq = next(iter(self.waiting.values()))
            if not self._has_room_for(seq):
                return
            del self.waiting[seq.seq_id]
            # All blocks of the prompt at once: a chunk can then never lack one half-way.
            reserved = self._blocks.append_slots(seq, seq.num_uncomputed_tokens)
            assert reserved, "room was checked"
            seq.state = SequenceState.RUNNING
            self.running.append(seq)
            plan.add(seq, min(seq.num_uncomputed_tokens, plan.budget))

    def _has_room_for(self, seq: Sequence) -> bool:
        # A block of slack for each running sequence: without it a newcomer would take the last
        # blocks and be preempted by the next decode that crosses a block boundary.
        num_missing = self._blocks.num_missing_blocks(seq, seq.num_uncomputed_tokens)
        return num_missing + len(self.running) <= self._blocks.num_free_blocks

    def _preempt_youngest(self) -> Sequence:
        seq = self.running.pop()
        seq.num_lost_tokens = max(seq.num_lost_tokens, seq.num_computed_tokens)
        self._release(seq)
        seq.state = SequenceState.WAITING
        self.waiting[seq.seq_id] = seq
        self.waiting.move_to_end(seq.seq_id, last=False)
        self.counters.num_preemptions += 1
        return seq

    def _accept(self, seq: Sequence, token_id: int | None) -> SequenceUpdate:
        if token_id is None:
            self._end(seq, FinishReason.ERROR)
            return SequenceUpdate(seq, None)
        self.counters.num_output_tokens += 1
        reason = seq.append_token(
            token_id,
            eos_token_ids=self._eos_token_ids,
            max_model_len=self._limits.max_model_len,
        )
        if reason is not None:
            self._end(seq, reason)
        return SequenceUpdate(seq, token_id)

    def _end(self, seq: Sequence, reason: FinishReason) -> None:
        self._release(seq)
        seq.finish(reason)

    def _release(self, seq: Sequence) -> None:
        if seq.block_table:
            self._released.append(seq.seq_id)
        self._blocks.free(seq)

    def _count(self, item: ScheduledSequence) -> None:
        end = item.start + item.num_tokens
        num_again = max(0, min(end, item.seq.num_lost_tokens) - item.start)
        num_first = min(end, item.seq.num_prompt_tokens) - item.start - num_again
        self.counters.num_recomputed_tokens += num_again
        self.counters.num_prompt_tokens += max(0, num_first)
