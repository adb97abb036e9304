"""What the scheduler counts. Counters never fall; gauges are computed when asked for."""

from dataclasses import dataclass

from pagelet_engine.core.step_plan import ScheduledSequence


@dataclass(slots=True)
class Counters:
    """Totals since the engine started."""

    num_steps: int = 0
    num_preemptions: int = 0
    num_recomputed_tokens: int = 0
    """Tokens computed again because a preemption took their K/V."""
    num_prompt_tokens: int = 0
    """Prompt tokens computed for the first time."""
    num_output_tokens: int = 0
    num_prefix_query_tokens: int = 0
    """Prompt tokens of sequences admitted for the first time."""
    num_prefix_hit_tokens: int = 0
    """Those of them that were in the prefix cache."""
    num_expired: int = 0
    """Sequences ended by a deadline or a queue time-out."""

    def count(self, item: ScheduledSequence) -> int:
        """Count the tokens of `item` as computed; return how many output tokens are among them.

        Those that a preemption took and that are computed again are not.
        """
        end = item.start + item.num_tokens
        num_again = max(0, min(end, item.seq.num_lost_tokens) - item.start)
        num_prompt = max(0, min(end, item.seq.num_prompt_tokens) - item.start - num_again)
        self.num_recomputed_tokens += num_again
        self.num_prompt_tokens += num_prompt
        return item.num_tokens - num_again - num_prompt
