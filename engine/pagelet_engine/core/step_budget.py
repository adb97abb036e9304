"""How much of a prompt joins a step, so that those who read along do not notice.

While sequences decode, a step may take `target_s` at its 99th percentile; what their tokens leave
of it is given to prompts. Chunks shrink towards the end of a long prompt, where each token attends
to more. A prompt always gets a few tokens, so a target that even decoding alone exceeds delays
prompts but stops none.
"""

from pagelet_engine.core.step_time import StepSize, StepTimeModel

MIN_PROMPT_TOKENS = 16
"""Prompt tokens in every step that has a prompt, whatever the target."""


class PromptBudget:
    """Deals out one step's time to prompt chunks."""

    def __init__(self, model: StepTimeModel, target_s: float) -> None:
        """Start with an empty step.

        Args:
            model: Predicts the step's time.
            target_s: What the step may take, seconds.
        """
        self._model = model
        self._target_s = target_s / model.spread
        self._size = StepSize()
        self._num_prompt_tokens = 0

    def add(self, start: int, num_tokens: int) -> None:
        """Count tokens [start, start + num_tokens) of a sequence as part of the step."""
        self._size = self._size.plus(start, num_tokens)

    def take_chunk(self, start: int, num_wanted: int) -> int:
        """Add as many of a prompt's next tokens as the time allows, and return how many.

        Args:
            start: Tokens of the sequence already in the cache.
            num_wanted: Most tokens to take, >= 1.
        """
        floor = min(num_wanted, max(0, MIN_PROMPT_TOKENS - self._num_prompt_tokens))
        # Twice the largest step seen: whatever lies further out, the fit knows nothing about it.
        known = max(MIN_PROMPT_TOKENS, 2 * self._model.largest_step) - self._size.num_tokens
        low, high = floor, max(floor, min(num_wanted, known))
        while low < high:
            middle = (low + high + 1) // 2
            if self._fits(start, middle):
                low = middle
            else:
                high = middle - 1
        if low:
            self.add(start, low)
            self._num_prompt_tokens += low
        return low

    def _fits(self, start: int, num_tokens: int) -> bool:
        return self._model.predict(self._size.plus(start, num_tokens)) <= self._target_s
