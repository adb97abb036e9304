"""One sequence's tokens as text: decoded, cut at stop strings, timed.

Knows nothing of HTTP or of OpenAI's objects.
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from pagelet_engine.core.finish import FinishReason
from pagelet_engine.core.logprobs import TokenLogprobs
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.errors import EngineError
from pagelet_engine.generation import Generation
from pagelet_engine.messages import TokenOutput
from pagelet_engine.metrics import EngineMetrics
from pagelet_engine.server.echo import Echo
from pagelet_engine.text.detokenizer import Detokenizer, StopStrings
from pagelet_engine.text.reasoning import Thinking, ThoughtSplitter
from pagelet_engine.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class TokenScore:
    """One token of a text, and how likely the model found it."""

    token_id: int
    offset: int
    """Characters of the text before the token."""
    logprobs: TokenLogprobs | None
    """None for a prompt's first token, which nothing predicts."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """What has become certain of a text; the last one has `finish_reason`."""

    text: str
    finish_reason: FinishReason | None = None
    tokens: tuple[TokenScore, ...] = ()
    """If asked for: the tokens whose text begins in `text` or before, each once. Tokens that a
    stop string or the end took out of the text are left out here, too."""
    thought: str = ""
    """What the model thinks before it answers; `text` is the answer alone."""
    prompt: tuple[TokenLogprobs, ...] = ()
    """If asked for, in the first delta: the scores of the prompt's tokens but the first."""


def score_count(delta: TextDelta) -> int:
    """Return how many log-probabilities `delta` holds, alternatives included."""
    found = chain(delta.prompt, (token.logprobs for token in delta.tokens))
    return sum(1 + len(item.top) for item in found if item is not None)


def joined(deltas: Sequence[TextDelta]) -> TextDelta:
    """Return all deltas of one text, of which there is at least one, as one."""
    return TextDelta(
        "".join(delta.text for delta in deltas),
        deltas[-1].finish_reason,
        tuple(chain.from_iterable(delta.tokens for delta in deltas)),
        "".join(delta.thought for delta in deltas),
        deltas[0].prompt,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TextOptions:
    """How tokens become the text a client asked for."""

    stops: tuple[str, ...] = ()
    """Texts that end the sequence."""
    include_stop: bool = False
    """Keep what ended the sequence, stop string or stop token, in the text."""
    thinking: Thinking = Thinking.CLOSED
    """Where the output begins, for models that think."""
    spoken: frozenset[int] = frozenset()
    """Control tokens that are shown as they are written, since they mean something to who reads."""
    echo: Echo | None = None
    """The prompt, if the text is to begin with it."""
    prompt_only: bool = False
    """Whether to show nothing but `echo`."""
    counts_prompt: bool = True
    """Whether the request's token count includes this sequence's prompt: one of n choices does."""


class RequestTimer:
    """Turns moments of one sequence into the latencies a client feels."""

    def __init__(
        self, metrics: EngineMetrics, clock: Callable[[], float], arrived_at: float
    ) -> None:
        self._metrics = metrics
        self._clock = clock
        self._arrived_at = arrived_at
        self._last_at: float | None = None
        self.first_token_s: float | None = None
        """From arrival to the first token, seconds."""
        self.outcome: str | None = None
        """How the sequence ended, as metrics.REQUESTS has it; None while it has not."""

    def tokens(self, num_tokens: int) -> None:
        """Tokens have arrived."""
        if not num_tokens:
            return
        now = self._clock()
        if self._last_at is None:
            self.first_token_s = now - self._arrived_at
            self._metrics.observe_first_token(self.first_token_s)
        else:
            self._metrics.observe_tokens(now - self._last_at, num_tokens)
        self._last_at = now

    def end(self, outcome: str, *, num_prompt_tokens: int | None, num_output_tokens: int) -> None:
        """The sequence has ended; only the first call counts. Numbers as in `observe_end`."""
        if self.outcome is None:
            self.outcome = outcome
            self._metrics.observe_end(
                outcome,
                self._clock() - self._arrived_at,
                num_prompt_tokens=num_prompt_tokens,
                num_output_tokens=num_output_tokens,
            )


class TextStream:
    """The text of one generation; to be iterated once, and closed however that ends."""

    def __init__(
        self,
        generation: Generation,
        tokenizer: Tokenizer,
        sampling: SamplingParams,
        options: TextOptions,
        *,
        eos_token_ids: Iterable[int],
        num_prompt_tokens: int,
        timer: RequestTimer,
    ) -> None:
        self._generation = generation
        self._detokenizer = Detokenizer(
            lambda token_id: (
                tokenizer.spelling(token_id)
                if token_id in options.spoken
                else tokenizer.token_bytes(token_id)
            )
        )
        self._thoughts = ThoughtSplitter(options.thinking)
        self._num_before_answer = 0
        self._stops = StopStrings(options.stops, include=options.include_stop)
        stop_token_ids = () if options.include_stop else sampling.stop_token_ids
        self._dropped_at_end = frozenset(eos_token_ids).union(stop_token_ids)
        self._min_tokens = sampling.min_tokens
        self._timer = timer
        self._options = options
        self._scores_tokens = sampling.logprobs is not None
        self._scores: deque[TokenScore] = deque()
        self._num_decoded = self._num_shown = 0
        self._echo = options.echo
        self.num_prompt_tokens = num_prompt_tokens
        self.num_cached_tokens = 0
        """Prompt tokens that came from the prefix cache."""
        self.counts_prompt = options.counts_prompt
        self.num_output_tokens = 0
        """Tokens generated so far, those that end the text included."""

    @property
    def num_reasoning_tokens(self) -> int:
        """Tokens of the thought, its tags included."""
        return self._num_before_answer if self._thoughts.has_thought else 0

    @property
    def outcome(self) -> str | None:
        """How it ended: stop, length, error or aborted; None while it has not."""
        return self._timer.outcome

    @property
    def first_token_s(self) -> float | None:
        """Seconds from the request's arrival to the first token; None before."""
        return self._timer.first_token_s

    async def deltas(self) -> AsyncGenerator[TextDelta]:
        """Yield the text as it becomes certain; a delta may be empty.

        Raises:
            GenerationError: The engine gave this sequence up.
            UnavailableError: The engine is gone, or the server has to exit.
        """
        try:
            async for output in self._generation:
                delta = self._take(output)
                if output.prompt_logprobs or self._echo is not None:
                    delta = self._with_prompt(delta, output.prompt_logprobs)
                yield delta
                if delta.finish_reason is not None:
                    return
        except EngineError:
            self._end("error")
            raise

    def close(self) -> None:
        """Stop generating; nothing happens if the sequence has ended."""
        self._generation.abort()
        self._end("aborted")

    def _with_prompt(self, delta: TextDelta, scores: Sequence[TokenLogprobs]) -> TextDelta:
        """Put the prompt before the first delta; its output's offsets count it already."""
        echo, self._echo = self._echo, None
        delta = replace(delta, prompt=tuple(scores))
        if echo is None:
            return delta
        tokens: tuple[TokenScore, ...] = ()
        if self._scores_tokens:
            columns = zip(echo.token_ids, echo.offsets, (None, *scores), strict=True)
            tokens = tuple(TokenScore(*column) for column in columns)
        if self._options.prompt_only:
            self._generation.abort()
            self.num_output_tokens = 0
            self._end(FinishReason.LENGTH.value)
            return TextDelta(echo.text, FinishReason.LENGTH, tokens, prompt=delta.prompt)
        return replace(delta, text=echo.text + delta.text, tokens=tokens + delta.tokens)

    def _take(self, output: TokenOutput) -> TextDelta:
        self.num_cached_tokens = output.num_cached_tokens
        self._timer.tokens(len(output.token_ids))
        finish_reason = output.finish_reason
        ended_by_token = finish_reason is FinishReason.STOP and bool(output.token_ids)
        text, pieces = "", [("", "")]
        for place, token_id in enumerate(output.token_ids, 1 - len(output.token_ids)):
            self.num_output_tokens += 1
            self._num_before_answer += not self._thoughts.is_answering
            is_last = ended_by_token and place == 0
            if not (is_last and token_id in self._dropped_at_end):
                if output.logprobs:
                    self._hold(output.logprobs[place - 1])
                certain = self._certain(token_id)
                text += certain
                pieces.append(self._thoughts.feed(certain))
        if finish_reason is not None and not self._stops.found:
            rest = self._stops.feed(self._detokenizer.finish())
            rest += self._stops.finish()
            text += rest
            pieces.append(self._thoughts.feed(rest))
        if self._stops.found:
            self._generation.abort()
            finish_reason = FinishReason.STOP
        if finish_reason is not None:
            self._end(finish_reason.value)
            pieces.append(self._thoughts.finish())
        self._num_shown += len(text)
        is_whole = finish_reason is not None and not self._stops.found
        scores = self._shown_scores(all_of_them=is_whole)
        thoughts, answers = zip(*pieces, strict=True)
        return TextDelta("".join(answers), finish_reason, scores, "".join(thoughts))

    def _end(self, outcome: str) -> None:
        self._timer.end(
            outcome,
            num_prompt_tokens=self.num_prompt_tokens if self.counts_prompt else None,
            num_output_tokens=self.num_output_tokens,
        )

    def _hold(self, found: TokenLogprobs) -> None:
        start = len(self._options.echo.text) if self._options.echo is not None else 0
        self._scores.append(TokenScore(found.token_id, start + self._num_decoded, found))

    def _shown_scores(self, *, all_of_them: bool) -> tuple[TokenScore, ...]:
        """Return the scores of tokens of which something is shown, once."""
        end = self._num_shown + (len(self._options.echo.text) if self._options.echo else 0)
        shown = []
        while self._scores and (all_of_them or self._scores[0].offset < end):
            shown.append(self._scores.popleft())
        return tuple(shown)

    def _certain(self, token_id: int) -> str:
        """Return the text that is certain once `token_id` has come."""
        text = self._detokenizer.feed((token_id,))
        self._num_decoded += len(text)
        # Before min_tokens a stop string is text like any other.
        return text if self.num_output_tokens <= self._min_tokens else self._stops.feed(text)
