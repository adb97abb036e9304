"""Workloads as data: how many requests, how long, how they arrive, what they share.

A `Profile` is what a person names; `plan` turns it into the exact list of requests. The list is
a pure function of the profile, so two servers, or two commits, get the same load.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pagelet_bench.core.arrivals import Arrivals
from pagelet_bench.core.errors import UsageError
from pagelet_bench.core.lengths import Lengths
from pagelet_bench.core.sampler import stream
from pagelet_bench.core.trace import TraceRow

FIRST_TOKEN_ID = 256
"""Lowest id in a prompt: below it tokenizers keep special tokens and single bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One kind of load. The loop is closed, open, or replays the times of a trace.

    Raises:
        UsageError: A count or rate is not positive, or it is not said how requests arrive.
    """

    name: str
    prompts: Lengths
    outputs: Lengths
    requests: int
    concurrency: int | None = None
    """Closed loop: so many conversations at once; the next starts when one ends."""

    rate_per_s: float | None = None
    """Open loop: conversations arrive at random, however slow the answers are."""

    burstiness: float = 1.0
    """Open loop: shape of the gaps between arrivals (`core.arrivals`)."""

    turns: int = 1
    """Requests of one conversation; each has those before it, and their answers, as prompt."""

    think_s: float = 0.0
    """Seconds between the end of an answer and the next turn."""

    prefix_tokens: int = 0
    """Tokens that conversations begin with alike, on top of `prompts`."""

    prefix_groups: int = 1
    """How many such beginnings there are; each conversation has one of them."""

    trace: tuple[TraceRow, ...] = ()
    """Recorded lengths, taken in turn, in place of `prompts` and `outputs`. With neither a
    concurrency nor a rate, requests also come when they came."""

    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be planned."""
        for name in ("requests", "turns", "prefix_groups"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; ask for at least one.")
        for name in ("think_s", "prefix_tokens"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name} is {getattr(self, name)}; it must not be negative.")
        if self.concurrency is not None and self.rate_per_s is not None:
            raise UsageError("give either a concurrency or a rate, not both and not neither.")
        if self.concurrency is None and self.rate_per_s is None:
            self._check_replay()
        if self.concurrency is not None and self.concurrency < 1:
            raise UsageError(f"concurrency is {self.concurrency}; it must be at least 1.")
        if self.rate_per_s is not None:
            Arrivals(rate_per_s=self.rate_per_s, burstiness=self.burstiness)

    def _check_replay(self) -> None:
        """Refuse a load of which nobody says how it arrives."""
        if not self.trace:
            raise UsageError("give either a concurrency or a rate, not both and not neither.")
        if self.trace[0].arrived_s is None:
            raise UsageError(
                "the trace has no column of times; give a concurrency or a rate instead."
            )
        if self.turns > 1 or self.requests > len(self.trace):
            raise UsageError(
                f"a trace that is replayed by its times has {len(self.trace)} requests of one turn "
                f"each; give a concurrency or a rate for more."
            )

    @property
    def is_open(self) -> bool:
        """Whether requests are sent by the clock, however slow the answers are."""
        return self.concurrency is None


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One request to send.

    Attributes:
        due_s: Open loop: seconds after the start of the run, of a conversation's first turn.
            Later turns, and the closed loop: 0.
        prompt_token_ids: What this turn adds to its conversation.
        output_tokens: Tokens to generate, exactly: end-of-sequence is ignored.
        conversation: Which conversation it belongs to; turns of one are neighbours in the plan.
    """

    index: int
    due_s: float
    prompt_token_ids: tuple[int, ...]
    output_tokens: int
    conversation: int = 0
    turn: int = 0


def plan(profile: Profile, *, vocab_size: int) -> tuple[PlannedRequest, ...]:
    """List the requests of a profile, in sending order.

    Guarantees: a longer run starts with the requests of a shorter one, and lengths do not depend
    on `vocab_size`. Ids are uniform in [FIRST_TOKEN_ID, vocab_size), so prompts share no prefix
    worth caching but the one that the profile asks for.

    Raises:
        UsageError: The vocabulary is too small.
    """
    if vocab_size <= FIRST_TOKEN_ID:
        raise UsageError(
            f"the vocabulary size is {vocab_size}; it must be above {FIRST_TOKEN_ID}, since lower "
            f"ids are special tokens and bytes."
        )
    due_s = _due(profile)
    groups = stream(profile.seed, "prefix groups")
    requests: list[PlannedRequest] = []
    prefix: tuple[int, ...] = ()
    for index, (prompt_tokens, output_tokens) in enumerate(_lengths(profile)):
        conversation, turn = divmod(index, profile.turns)
        ids = _token_ids(profile.seed, f"prompt {index}", prompt_tokens, vocab_size)
        if turn == 0 and profile.prefix_tokens:
            name = f"prefix {groups.below(profile.prefix_groups)}"
            prefix = _token_ids(profile.seed, name, profile.prefix_tokens, vocab_size)
        due = due_s[conversation] if turn == 0 else 0.0
        ids = (*prefix, *ids) if turn == 0 else ids
        requests.append(PlannedRequest(index, due, ids, output_tokens, conversation, turn))
    return tuple(requests)


def _lengths(profile: Profile) -> list[tuple[int, int]]:
    """Draw prompt and output lengths of every request, tokens."""
    if profile.trace:
        rows = [profile.trace[n % len(profile.trace)] for n in range(profile.requests)]
        return [(row.prompt_tokens, row.output_tokens) for row in rows]
    prompts = stream(profile.seed, "prompt lengths")
    outputs = stream(profile.seed, "output lengths")
    return [
        (profile.prompts.at(prompts.normal()), profile.outputs.at(outputs.normal()))
        for _ in range(profile.requests)
    ]


def _due(profile: Profile) -> list[float]:
    """Return when each conversation is due, seconds after the start."""
    conversations = -(-profile.requests // profile.turns)
    if profile.concurrency is not None:
        return [0.0] * conversations
    if profile.rate_per_s is None:
        return [row.arrived_s or 0.0 for row in profile.trace[:conversations]]
    arrivals = Arrivals(rate_per_s=profile.rate_per_s, burstiness=profile.burstiness)
    draws = stream(profile.seed, "arrivals")
    due_s, found = 0.0, []
    for _ in range(conversations):
        found.append(due_s)
        due_s += arrivals.gap_s(draws)
    return found


def fitted(
    requests: Sequence[PlannedRequest], max_model_len: int | None
) -> tuple[PlannedRequest, ...]:
    """Shorten what a context of `max_model_len` tokens cannot hold: the prompt, then the output.

    Without a known length nothing is shortened.
    """
    if max_model_len is None:
        return tuple(requests)
    short = []
    for request in requests:
        output_tokens = min(request.output_tokens, max(1, max_model_len // 2))
        room = max(1, max_model_len - output_tokens)
        ids = request.prompt_token_ids[:room]
        short.append(replace(request, prompt_token_ids=ids, output_tokens=output_tokens))
    return tuple(short)


def _token_ids(seed: int, purpose: str, count: int, vocab_size: int) -> tuple[int, ...]:
    ids = stream(seed, purpose)
    span = vocab_size - FIRST_TOKEN_ID
    return tuple(FIRST_TOKEN_ID + ids.below(span) for _ in range(count))
