"""How the next token is chosen and when a sequence stops, as plain data.

Values are checked by `check`, called at the API edge, so that nothing in the step loop
can fail on them. What needs text (stop strings) is the API process's job and is not here.
"""

from collections.abc import Iterable
from dataclasses import dataclass

MAX_STOP_TOKEN_IDS = 64
MAX_LOGIT_BIAS = 1024
MAX_ALLOWED_TOKEN_IDS = 4096
MAX_BAD_WORDS = 128
MAX_BAD_WORD_TOKENS = 64
MAX_LOGPROBS = 20

Problem = tuple[bool, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """Sampling settings of one sequence; names and defaults follow the OpenAI API and vLLM."""

    max_tokens: int
    """Most output tokens, >= 1. The edge fills it in from the context window if absent."""

    temperature: float = 1.0
    """0 picks the most likely token (greedy); higher flattens the distribution. [0, 2]."""

    top_p: float = 1.0
    """Sample from the smallest set of tokens whose probability reaches this. (0, 1]."""

    top_k: int = 0
    """Sample from this many most likely tokens; 0 means all."""

    min_p: float = 0.0
    """Sample only from tokens at least this fraction as likely as the most likely one. [0, 1]."""

    seed: int | None = None
    """Makes the sequence's draws reproducible whatever else is in the batch."""

    presence_penalty: float = 0.0
    """Taken off the logit of every token the output already holds. [-2, 2]."""

    frequency_penalty: float = 0.0
    """Taken off a token's logit once for each time the output already holds it. [-2, 2]."""

    repetition_penalty: float = 1.0
    """Divides positive and multiplies negative logits of tokens of prompt or output.
    [0.01, 10]: inside it no float32 logit overflows."""

    logit_bias: tuple[tuple[int, float], ...] = ()
    """Token ids and what is added to their logits, [-100, 100]."""

    allowed_token_ids: tuple[int, ...] | None = None
    """The only ids that may be generated; None allows all."""

    bad_words: tuple[tuple[int, ...], ...] = ()
    """Runs of token ids that must not appear in the output."""

    min_tokens: int = 0
    """No end-of-sequence or stop token before this many output tokens. <= max_tokens."""

    ignore_eos: bool = False
    """Go on after the end-of-sequence token; for load tests with fixed output lengths."""

    stop_token_ids: tuple[int, ...] = ()
    """Token ids that end the sequence, besides the model's own end-of-sequence ids."""

    logprobs: int | None = None
    """Report the log-probability of each output token, and of this many most likely ones at its
    place. None reports none. [0, 20]."""

    prompt_logprobs: int | None = None
    """The same for each prompt token but the first. Such a prompt is computed in full."""

    @property
    def changes_logits(self) -> bool:
        """Whether any setting acts on the logits before temperature does."""
        return (
            self.presence_penalty != 0.0
            or self.frequency_penalty != 0.0
            or self.repetition_penalty != 1.0
            or self.min_tokens > 0
            or self.allowed_token_ids is not None
            or bool(self.logit_bias)
            or bool(self.bad_words)
        )

    @property
    def forbids_tokens(self) -> bool:
        """Whether any setting may leave a token impossible."""
        return self.min_tokens > 0 or self.allowed_token_ids is not None or bool(self.bad_words)

    def check(self, vocab_size: int) -> str | None:
        """Return what is wrong with the values, as `field: sentence`, or None."""
        problems = [*self._draw_problems(), *self._length_problems(), *self._id_problems()]
        wrong = next((text for is_wrong, text in problems if is_wrong), None)
        return wrong if wrong is not None else self._unknown_ids(vocab_size)

    def _draw_problems(self) -> Iterable[Problem]:
        yield _outside("temperature", self.temperature, 0.0, 2.0)
        yield not 0.0 < self.top_p <= 1.0, f"top_p: must be in (0, 1], got {self.top_p}"
        yield self.top_k < 0, f"top_k: must be 0 (off) or positive, got {self.top_k}"
        yield _outside("min_p", self.min_p, 0.0, 1.0)
        yield _outside("presence_penalty", self.presence_penalty, -2.0, 2.0)
        yield _outside("frequency_penalty", self.frequency_penalty, -2.0, 2.0)
        yield _outside("repetition_penalty", self.repetition_penalty, 0.01, 10.0)
        yield (
            self.seed is not None and not -(2**63) <= self.seed < 2**63,
            f"seed: must fit 64 bits, got {self.seed}",
        )
        yield (
            not all(-100.0 <= bias <= 100.0 for _, bias in self.logit_bias),
            "logit_bias: each bias must be between -100 and 100",
        )

    def _length_problems(self) -> Iterable[Problem]:
        yield self.max_tokens < 1, f"max_tokens: must be at least 1, got {self.max_tokens}"
        yield _outside("min_tokens", self.min_tokens, 0, self.max_tokens)
        for name, number in (
            ("logprobs", self.logprobs),
            ("prompt_logprobs", self.prompt_logprobs),
        ):
            if number is not None:
                yield _outside(name, number, 0, MAX_LOGPROBS)

    def _id_problems(self) -> Iterable[Problem]:
        yield _too_many("stop_token_ids", self.stop_token_ids, MAX_STOP_TOKEN_IDS)
        yield _too_many("logit_bias", self.logit_bias, MAX_LOGIT_BIAS)
        yield _too_many("bad_words", self.bad_words, MAX_BAD_WORDS)
        yield (
            not all(1 <= len(word) <= MAX_BAD_WORD_TOKENS for word in self.bad_words),
            f"bad_words: each must have 1 to {MAX_BAD_WORD_TOKENS} tokens",
        )
        if self.allowed_token_ids is not None:
            yield not self.allowed_token_ids, "allowed_token_ids: must name at least one id"
            yield _too_many("allowed_token_ids", self.allowed_token_ids, MAX_ALLOWED_TOKEN_IDS)

    def _unknown_ids(self, vocab_size: int) -> str | None:
        for name, token_ids in (
            ("stop_token_ids", self.stop_token_ids),
            ("allowed_token_ids", self.allowed_token_ids or ()),
            ("logit_bias", (token for token, _ in self.logit_bias)),
            ("bad_words", (token for word in self.bad_words for token in word)),
        ):
            if any(not 0 <= token < vocab_size for token in token_ids):
                return f"{name}: ids must be in [0, {vocab_size})"
        return None


def _outside(name: str, value: float, low: float, high: float) -> Problem:
    # `not ... <=` is also true of NaN.
    return not low <= value <= high, f"{name}: must be between {low:g} and {high:g}, got {value}"


def _too_many(name: str, values: tuple[object, ...], most: int) -> Problem:
    return len(values) > most, f"{name}: at most {most} are allowed, got {len(values)}"
