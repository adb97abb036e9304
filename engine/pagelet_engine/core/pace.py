"""What the scheduler learns from the time its steps take."""

from collections.abc import Collection

from pagelet_engine.core.admission import ServiceRate
from pagelet_engine.core.sequence import Sequence
from pagelet_engine.core.step_budget import PromptBudget
from pagelet_engine.core.step_plan import StepPlan
from pagelet_engine.core.step_time import StepSize, StepTimeModel


class Pace:
    """The queue's speed, for admission, and the steps' length, for the size of prompt chunks."""

    def __init__(self, target_itl_s: float | None) -> None:
        """Start knowing nothing.

        Args:
            target_itl_s: Longest step while sequences decode, seconds; None for no limit.
        """
        self._target_itl_s = target_itl_s
        self._rate = ServiceRate()
        self._step_time = StepTimeModel()

    @property
    def tokens_per_second(self) -> float | None:
        """See `ServiceRate.tokens_per_second`."""
        return self._rate.tokens_per_second

    def observe(self, plan: StepPlan, seconds: float, *, has_backlog: bool) -> None:
        """Take in that `plan` took `seconds` > 0, and whether anybody waited meanwhile."""
        num_prompt_tokens = sum(item.num_tokens for item in plan.scheduled if item.num_tokens > 1)
        self._rate.observe(num_prompt_tokens, seconds, has_backlog=has_backlog)
        if self._target_itl_s is not None:
            size = StepSize()
            for item in plan.scheduled:
                size = size.plus(item.start, item.num_tokens)
            self._step_time.observe(size, seconds)

    def prompt_budget(self, decodes: Collection[Sequence]) -> PromptBudget | None:
        """Return what is left of a step with `decodes` for prompts; None if anything goes."""
        if self._target_itl_s is None or not decodes:
            return None  # nobody waits for the next token
        budget = PromptBudget(self._step_time, self._target_itl_s)
        for seq in decodes:
            budget.add(seq.num_computed_tokens, 1)
        return budget
