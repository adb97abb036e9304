"""The sequences that were admitted: who runs, who is held back, who gives way in a full pool.

    waiting ──admit──► running ──hold──► held ──resume──► returning ──place free──► running
       ▲                  │               │ (blocks may be taken)   │
       └────preempted─────┘               └──── without blocks ─────┴──► waiting

A sequence is held back while its reader does not keep up: it takes no place in a step, and keeps
its blocks for as long as nobody else needs them. Held ones give way before any running one does,
and before anybody has to wait, so a reader that is slow delays nobody but itself.

INVARIANT: a held or returning sequence has produced at least one token; nobody else has a reader
that could be slow.
"""

from pagelet_engine.core.block_manager import BlockManager
from pagelet_engine.core.fair_queue import FairQueue
from pagelet_engine.core.preemption import cheapest_victim
from pagelet_engine.core.sequence import Sequence, SequenceState
from pagelet_engine.core.stats import Counters


class Residents:
    """The admitted sequences and their blocks."""

    def __init__(
        self,
        blocks: BlockManager,
        waiting: FairQueue,
        counters: Counters,
        *,
        max_num_seqs: int,
        max_preemptions: int,
    ) -> None:
        """Start with none.

        Args:
            blocks: The pool.
            waiting: Takes back who was preempted.
            counters: Counts preemptions.
            max_num_seqs: Most sequences running at once.
            max_preemptions: When a running sequence is protected, see `cheapest_victim`.
        """
        self._blocks = blocks
        self._waiting = waiting
        self._counters = counters
        self._max_num_seqs = max_num_seqs
        self._max_preemptions = max_preemptions
        self._held: dict[int, Sequence] = {}
        self._returning: dict[int, Sequence] = {}
        self._released: list[int] = []
        self.running: list[Sequence] = []

    def __len__(self) -> int:
        return len(self.running) + len(self._held) + len(self._returning)

    @property
    def have_work(self) -> bool:
        """Whether any of them wants to be computed."""
        return bool(self.running or self._returning)

    @property
    def has_place(self) -> bool:
        """Whether one more may run."""
        return len(self.running) < self._max_num_seqs

    def all(self) -> list[Sequence]:
        """Return the admitted sequences, the running ones first."""
        return [*self.running, *self._held.values(), *self._returning.values()]

    def admit(self, seq: Sequence) -> int:
        """Let a sequence run for which `make_room` was true; return its cached tokens."""
        num_cached = self._blocks.begin(seq)
        self._run(seq)
        return num_cached

    def make_room(self, seq: Sequence) -> bool:
        """Return whether the pool has room for a waiting sequence; who is held gives way to it."""
        # A block of slack for each running sequence: without it a newcomer would take the last
        # blocks and be preempted by the next decode that crosses a block boundary.
        while not self._blocks.fits(seq, len(self.running)):
            idle = self._idle_holders()
            if not idle:
                return False
            self._preempt(self._cheapest(idle))
        return True

    def secure_decodes(self) -> bool:
        """Find each decoding sequence a slot; return whether one had to be preempted for it."""
        num_before = self._counters.num_preemptions
        for seq in list(self.running):
            if seq.state is not SequenceState.RUNNING or seq.num_uncomputed_tokens > 1:
                continue
            while not self._blocks.append_slots(seq, 1):
                victim = self._cheapest(self._idle_holders() or self.running)
                self._preempt(victim)
                if victim is seq:
                    break
        return self._counters.num_preemptions > num_before

    def hold(self, seq: Sequence) -> None:
        """Compute nothing more of `seq` until `resume`, if it has produced anything."""
        if not seq.num_output_tokens:
            return
        match seq.state:
            case SequenceState.RUNNING:
                self.running.remove(seq)
                # Its blocks stay, its row in the runner's tables goes to who runs in its place.
                self._released.append(seq.seq_id)
            case SequenceState.WAITING:
                self._waiting.remove(seq)
            case SequenceState.HELD:
                self._returning.pop(seq.seq_id, None)
            case SequenceState.FINISHED:
                return
        seq.state = SequenceState.HELD
        self._held[seq.seq_id] = seq

    def resume(self, seq: Sequence) -> None:
        """Let `seq` go on at the next free place; nothing happens if it is not held."""
        if self._held.pop(seq.seq_id, None) is not None:
            self._returning[seq.seq_id] = seq

    def take_returning(self) -> None:
        """Let those run again that were resumed, as far as there are places."""
        for seq in list(self._returning.values()):
            if not seq.block_table:
                self._requeue(seq)
            elif self.has_place:
                self._run(seq)
            else:
                continue
            del self._returning[seq.seq_id]

    def leave(self, seq: Sequence) -> None:
        """Let go of an admitted sequence that ends, wherever it is."""
        if seq.state is SequenceState.RUNNING:
            self.running.remove(seq)
        else:
            self._held.pop(seq.seq_id, None)
            self._returning.pop(seq.seq_id, None)

    def release(self, seq: Sequence) -> None:
        """Give the blocks of `seq` back."""
        if seq.block_table:
            self._released.append(seq.seq_id)
        self._blocks.free(seq)

    def take_released(self) -> list[int]:
        """Return the ids of which a runner must forget everything, once."""
        released, self._released = self._released, []
        return released

    def _run(self, seq: Sequence) -> None:
        seq.state = SequenceState.RUNNING
        self.running.append(seq)

    def _idle_holders(self) -> list[Sequence]:
        return [
            seq
            for group in (self._held, self._returning)
            for seq in group.values()
            if seq.block_table
        ]

    def _cheapest(self, seqs: list[Sequence]) -> Sequence:
        return cheapest_victim(seqs, self._blocks, max_preemptions=self._max_preemptions)

    def _preempt(self, seq: Sequence) -> None:
        seq.num_lost_tokens = max(seq.num_lost_tokens, seq.num_computed_tokens)
        self.release(seq)
        seq.num_preemptions += 1
        self._counters.num_preemptions += 1
        if seq.state is SequenceState.RUNNING:
            self.running.remove(seq)
            self._requeue(seq)

    def _requeue(self, seq: Sequence) -> None:
        seq.state = SequenceState.WAITING
        seq.num_queued_tokens = seq.num_tokens
        self._waiting.push_preempted(seq)
