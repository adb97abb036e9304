"""The engine: one step is schedule, run, update.

Owns the sequences by id; knows nothing of processes, sockets or text.
"""

import time
from collections.abc import Callable
from typing import Protocol

from pagelet_engine.constraints.masks import DEAD_END, Masks
from pagelet_engine.core.admission import Refusal
from pagelet_engine.core.block_manager import BlockManager
from pagelet_engine.core.deadlines import Expired
from pagelet_engine.core.draw import Draw, NoToken
from pagelet_engine.core.finish import ErrorKind, FinishReason
from pagelet_engine.core.first_token import no_first_token
from pagelet_engine.core.logprobs import StepScores, TokenLogprobs
from pagelet_engine.core.scheduler import Scheduler, SequenceUpdate
from pagelet_engine.core.sequence import Sequence
from pagelet_engine.core.step_plan import StepPlan
from pagelet_engine.messages import EngineStats, Ready, Submit, TokenOutput

NONE_ALLOWED = (
    "The output cannot go on: allowed_token_ids, bad_words, min_tokens and stop_token_ids together "
    "leave no token. Allow more."
)
NOT_FINITE = (
    "The model's output for this request was not a finite number; the request cannot go on. "
    "Other requests are not affected."
)

DEADLINE_PASSED = "The request's deadline passed before its output was complete."
QUEUE_TIMEOUT = "The request waited too long for its turn; the server is busy. Try again later."


class Runner(Protocol):
    """Computes a plan; `runner.model_runner.ModelRunner` is the real one."""

    def run(self, plan: StepPlan) -> list[Draw]:
        """Return what was drawn for each item of `plan.sampling`."""
        ...

    def take_scores(self) -> StepScores:
        """Return the log-probabilities of the last run, once."""
        ...


class Engine:
    """Generates tokens for many sequences at once. Not thread-safe."""

    def __init__(
        self,
        scheduler: Scheduler,
        blocks: BlockManager,
        runner: Runner,
        ready: Ready,
        masks: Masks | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Put the parts together; `assembly.build_engine` is the usual way.

        Args:
            scheduler: Holds no sequence yet.
            blocks: The scheduler's.
            runner: Shares the block numbering.
            ready: What the engine says of itself.
            masks: The runner's, if it obeys any.
            clock: Seconds, never falling; deadlines are measured on it.
        """
        self.ready = ready
        self._clock = clock
        self._scheduler = scheduler
        self._blocks = blocks
        self._runner = runner
        self._masks = Masks(ready.vocab_size) if masks is None else masks
        self._seqs: dict[int, Sequence] = {}
        self._queued_since: dict[int, float] = {}
        self._queue_s: dict[int, float] = {}
        self._num_queue_timeouts = 0
        self._last_step_seconds = 0.0
        self._last_step_tokens = 0

    @property
    def has_work(self) -> bool:
        """Whether `step` would compute anything, or end what has run out of time."""
        return self._scheduler.has_work or self._scheduler.next_deadline <= self._clock()

    def add(self, submit: Submit) -> TokenOutput | None:
        """Queue a sequence.

        Returns:
            None, or the sequence's last output when it can never run; nothing is queued then.
        """
        problem = self._problem(submit)
        if problem is not None:
            return _refused(submit.seq_id, Refusal(ErrorKind.INVALID, problem))
        now = self._clock()
        seq = _sequence(submit, now)
        refusal = self._scheduler.add(seq, now)
        if refusal is not None:
            return _refused(submit.seq_id, refusal)
        if submit.constraint is not None:
            problem = self._constrain(seq, submit.constraint)
            if problem is not None:
                return TokenOutput(submit.seq_id, [], FinishReason.ERROR, problem)
        self._seqs[submit.seq_id] = seq
        self._queued_since[submit.seq_id] = now
        return None

    def abort(self, seq_id: int) -> None:
        """Forget a sequence and free its blocks; unknown and finished ids are ignored."""
        seq = self._seqs.pop(seq_id, None)
        if seq is not None:
            self._scheduler.abort(seq)
            self._forget(seq_id)

    def hold(self, seq_id: int, *, is_held: bool) -> None:
        """Produce nothing more of a sequence, or go on with it; unknown ids are ignored."""
        seq = self._seqs.get(seq_id)
        if seq is not None and is_held:
            self._scheduler.hold(seq)
        elif seq is not None:
            self._scheduler.resume(seq)

    def step(self) -> list[TokenOutput]:
        """End what has run out of time, then compute one step; call it while `has_work`."""
        started = self._clock()
        outputs = [self._expired(item) for item in self._scheduler.expire(started)]
        plan = self._scheduler.schedule()
        if not plan.scheduled:
            return outputs
        self._note_first_steps(plan)
        updates = self._scheduler.update(plan, self._runner.run(plan))
        self._last_step_seconds = self._clock() - started
        self._last_step_tokens = plan.num_tokens
        self._scheduler.observe(plan, self._last_step_seconds)
        return outputs + self._outputs(updates)

    def stats(self) -> EngineStats:
        """Return gauges and counters as of now."""
        counters = self._scheduler.counters
        return EngineStats(
            num_waiting=len(self._scheduler.waiting),
            num_running=len(self._scheduler.admitted),
            num_blocks_used=self._blocks.num_used_blocks,
            num_blocks_total=self._blocks.num_blocks,
            kv_slots_used=self._num_slots_used(),
            num_steps=counters.num_steps,
            num_preemptions=counters.num_preemptions,
            num_recomputed_tokens=counters.num_recomputed_tokens,
            num_prompt_tokens=counters.num_prompt_tokens,
            num_output_tokens=counters.num_output_tokens,
            last_step_seconds=self._last_step_seconds,
            last_step_tokens=self._last_step_tokens,
            num_prefix_query_tokens=counters.num_prefix_query_tokens,
            num_prefix_hit_tokens=counters.num_prefix_hit_tokens,
            num_expired=counters.num_expired,
            num_queue_timeouts=self._num_queue_timeouts,
            last_mask_seconds=self._masks.last_wait_s,
            num_late_masks=self._masks.num_late,
        )

    def _note_first_steps(self, plan: StepPlan) -> None:
        """Remember how long sequences that have their first step waited for it."""
        if not self._queued_since:
            return
        now = self._clock()
        for item in plan.scheduled:
            since = self._queued_since.pop(item.seq.seq_id, None)
            if since is not None:
                self._queue_s[item.seq.seq_id] = now - since

    def _forget(self, seq_id: int) -> None:
        """Let go of what is kept by sequence, beside the sequence itself."""
        self._masks.close(seq_id)
        self._queued_since.pop(seq_id, None)
        self._queue_s.pop(seq_id, None)

    def _num_slots_used(self) -> int:
        # From what is not used: shared blocks are full, so nobody counts them twice.
        block_size = self._blocks.block_size
        num_idle = sum(
            len(seq.block_table) * block_size - seq.num_computed_tokens
            for seq in self._scheduler.admitted
        )
        return self._blocks.num_used_blocks * block_size - num_idle

    def _constrain(self, seq: Sequence, address: str) -> str | None:
        problem = self._masks.open(seq.seq_id, address)
        if problem is not None:
            self._scheduler.abort(seq)
        return problem

    def _problem(self, submit: Submit) -> str | None:
        vocab_size = self.ready.vocab_size
        if submit.seq_id in self._seqs:
            return f"Sequence id {submit.seq_id} is in use."
        if not 0.0 < submit.weight < float("inf"):
            return f"weight: must be positive, got {submit.weight}"
        if any(not 0 <= token < vocab_size for token in submit.prompt_token_ids):
            return f"The prompt holds token ids outside [0, {vocab_size})."
        ends = frozenset(self.ready.eos_token_ids)
        return submit.sampling.check(vocab_size) or no_first_token(
            submit.sampling, vocab_size, ends
        )

    def _outputs(self, updates: list[SequenceUpdate]) -> list[TokenOutput]:
        scores = self._runner.take_scores()
        prompts = [
            TokenOutput(seq_id, [], prompt_logprobs=found)
            for seq_id, found in scores.prompt.items()
        ]
        return prompts + [
            self._output(update, scores.output.get(update.seq.seq_id)) for update in updates
        ]

    def _output(self, update: SequenceUpdate, logprobs: TokenLogprobs | None) -> TokenOutput:
        seq, draw = update.seq, update.draw
        masks_problem = self._masks.problem(seq.seq_id)
        queue_s = self._queue_s.pop(seq.seq_id, None)
        if seq.finish_reason is not None:
            del self._seqs[seq.seq_id]
            self._forget(seq.seq_id)
        if isinstance(draw, NoToken):
            return _refused(seq.seq_id, _no_token(draw, masks_problem))
        return TokenOutput(
            seq.seq_id,
            [draw],
            seq.finish_reason,
            num_cached_tokens=seq.num_cached_tokens or 0,
            logprobs=[] if logprobs is None else [logprobs],
            queue_s=queue_s,
        )

    def _expired(self, item: Expired) -> TokenOutput:
        seq_id = item.seq.seq_id
        del self._seqs[seq_id]
        self._num_queue_timeouts += item.while_queued
        self._forget(seq_id)
        if item.while_queued:
            return _refused(seq_id, Refusal(ErrorKind.OVERLOADED, QUEUE_TIMEOUT, 1.0))
        return _refused(seq_id, Refusal(ErrorKind.TIMEOUT, DEADLINE_PASSED))


def _no_token(why: NoToken, masks_problem: str | None) -> Refusal:
    """Return who can mend that nothing was drawn: the client, if its settings leave no way on."""
    if why is NoToken.NOT_FINITE:
        return Refusal(ErrorKind.INTERNAL, NOT_FINITE)
    problem = masks_problem or NONE_ALLOWED
    was_chosen = problem in (DEAD_END, NONE_ALLOWED)
    return Refusal(ErrorKind.INVALID if was_chosen else ErrorKind.INTERNAL, problem)


def _sequence(submit: Submit, now: float) -> Sequence:
    return Sequence(
        submit.seq_id,
        list(submit.prompt_token_ids),
        submit.sampling,
        cache_salt=submit.cache_salt,
        tenant=submit.tenant,
        weight=submit.weight,
        priority=submit.priority,
        deadline=None if submit.deadline_s is None else now + submit.deadline_s,
        # Cached tokens are not computed, so they have no logits.
        reads_cache=submit.sampling.prompt_logprobs is None,
    )


def _refused(seq_id: int, refusal: Refusal) -> TokenOutput:
    return TokenOutput(
        seq_id, [], FinishReason.ERROR, refusal.message, refusal.kind, refusal.retry_after_s
    )
