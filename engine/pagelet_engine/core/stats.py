"""What the scheduler counts. Counters never fall; gauges are computed when asked for."""

from dataclasses import dataclass


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
