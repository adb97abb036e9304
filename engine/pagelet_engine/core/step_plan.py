"""What one forward pass computes, as plain data between scheduler and runner."""

from dataclasses import dataclass, field

from pagelet_engine.core.sequence import Sequence


@dataclass(frozen=True, slots=True)
class ScheduledSequence:
    """A run of tokens of one sequence: [start, start + num_tokens)."""

    seq: Sequence
    start: int
    """Tokens of the sequence already in the cache."""
    num_tokens: int
    """Tokens to compute, >= 1."""

    @property
    def samples(self) -> bool:
        """Whether this run reaches the newest token, so that its logits give the next one."""
        return self.start + self.num_tokens == self.seq.num_tokens


@dataclass(slots=True)
class StepPlan:
    """The sequences of one step in arrival order, and whose blocks went back before it."""

    budget: int
    """Tokens the step may still take."""
    scheduled: list[ScheduledSequence] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    """Ids of sequences that gave up their blocks since the last plan: preempted or ended.
    Whatever a runner remembers about them is void before this step."""

    def add(self, seq: Sequence, num_tokens: int) -> None:
        """Put the next `num_tokens` uncomputed tokens of `seq` into the step."""
        assert 0 < num_tokens <= self.budget, "a step must stay inside its token budget"
        self.scheduled.append(ScheduledSequence(seq, seq.num_computed_tokens, num_tokens))
        self.budget -= num_tokens

    @property
    def num_tokens(self) -> int:
        """Tokens of the forward pass."""
        return sum(item.num_tokens for item in self.scheduled)

    @property
    def sampling(self) -> list[ScheduledSequence]:
        """The items that produce a token, in order."""
        return [item for item in self.scheduled if item.samples]
