"""One sequence's tokens as text: decoded, cut at stop strings, timed.

Knows nothing of HTTP or of OpenAI's objects.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

from pagelet_engine.core.finish import FinishReason
from pagelet_engine.errors import EngineError
from pagelet_engine.generation import Generation
from pagelet_engine.messages import TokenOutput
from pagelet_engine.metrics import EngineMetrics
from pagelet_engine.text.detokenizer import Detokenizer, StopStrings
from pagelet_engine.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class TextDelta:
    """What has become certain of a text; the last one has `finish_reason`."""

    text: str
    finish_reason: FinishReason | None = None


class RequestTimer:
    """Turns moments of one sequence into the latencies a client feels."""

    def __init__(
        self, metrics: EngineMetrics, clock: Callable[[], float], arrived_at: float
    ) -> None:
        self._metrics = metrics
        self._clock = clock
        self._arrived_at = arrived_at
        self._last_at: float | None = None
        self._has_ended = False

    def tokens(self, num_tokens: int) -> None:
        """Tokens have arrived."""
        if not num_tokens:
            return
        now = self._clock()
        if self._last_at is None:
            self._metrics.observe_first_token(now - self._arrived_at)
        else:
            self._metrics.observe_tokens(now - self._last_at, num_tokens)
        self._last_at = now

    def end(self, outcome: str) -> None:
        """The sequence has ended; only the first call counts."""
        if not self._has_ended:
            self._has_ended = True
            self._metrics.observe_end(outcome, self._clock() - self._arrived_at)


class TextStream:
    """The text of one generation; to be iterated once, and closed however that ends."""

    def __init__(
        self,
        generation: Generation,
        tokenizer: Tokenizer,
        *,
        num_prompt_tokens: int,
        stops: Sequence[str],
        stop_token_ids: Sequence[int],
        timer: RequestTimer,
    ) -> None:
        self._generation = generation
        self._detokenizer = Detokenizer(tokenizer.token_bytes)
        self._stops = StopStrings(stops)
        self._stop_token_ids = frozenset(stop_token_ids)
        self._timer = timer
        self.num_prompt_tokens = num_prompt_tokens
        self.num_output_tokens = 0
        """Tokens generated so far, those that end the text included."""

    async def deltas(self) -> AsyncGenerator[TextDelta]:
        """Yield the text as it becomes certain; a delta may be empty.

        Raises:
            GenerationError: The engine gave this sequence up.
            UnavailableError: The engine is gone, or the server has to exit.
        """
        try:
            async for output in self._generation:
                delta = self._take(output)
                yield delta
                if delta.finish_reason is not None:
                    return
        except EngineError:
            self._timer.end("error")
            raise

    def close(self) -> None:
        """Stop generating; nothing happens if the sequence has ended."""
        self._generation.abort()
        self._timer.end("aborted")

    def _take(self, output: TokenOutput) -> TextDelta:
        self.num_output_tokens += len(output.token_ids)
        self._timer.tokens(len(output.token_ids))
        token_ids = output.token_ids
        if output.finish_reason is FinishReason.STOP and token_ids[-1:]:
            # The token that ended the text is no part of it.
            token_ids = token_ids[:-1] if token_ids[-1] in self._stop_token_ids else token_ids
        text = self._stops.feed(self._detokenizer.feed(token_ids))
        finish_reason = output.finish_reason
        if finish_reason is not None and not self._stops.found:
            text += self._stops.feed(self._detokenizer.finish())
            text += self._stops.finish()
        if self._stops.found:
            self._generation.abort()
            finish_reason = FinishReason.STOP
        if finish_reason is not None:
            self._timer.end(finish_reason.value)
        return TextDelta(text, finish_reason)
