"""How a planned request is put to an endpoint: as token ids, as text, or as a chat.

Token ids are exact, and tokenizing costs the server nothing. Where they are refused, and in chat,
each id becomes one short English word, which most vocabularies hold as one token with its space;
the server's usage says how many tokens it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pagelet_bench.core.workload import PlannedRequest

WORDS = (
    "time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world",
    "school", "state", "family", "student", "group", "country", "problem", "hand", "part",
    "place", "case", "week", "company", "system", "program", "question", "work", "government",
    "number", "night", "point", "home", "water", "room", "mother", "area", "money", "story",
    "fact", "month", "lot", "right", "study", "book", "eye", "job", "word", "business", "issue",
    "side", "kind", "head", "house", "service", "friend", "father", "power", "hour", "game",
    "line", "end", "member", "law", "car", "city",
)  # fmt: skip


class Form(StrEnum):
    """What a prompt is sent as."""

    TOKEN_IDS = "token_ids"  # noqa: S105 - no password
    TEXT = "text"
    CHAT = "chat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What an endpoint understands.

    Attributes:
        ignore_eos: Takes `ignore_eos`, so that answers have the planned length.
        min_tokens: Takes `min_tokens`, to the same end.
        is_strict: Refuses `temperature` and wants `max_completion_tokens`, as OpenAI's reasoning
            models do.
    """

    ignore_eos: bool
    min_tokens: bool
    form: Form = Form.TOKEN_IDS
    is_strict: bool = False

    @property
    def path(self) -> str:
        """Return where requests go."""
        return "/v1/chat/completions" if self.form is Form.CHAT else "/v1/completions"


DIALECTS = (
    *(
        Dialect(form=form, ignore_eos=ignore_eos, min_tokens=min_tokens)
        for form in Form
        for ignore_eos, min_tokens in ((True, True), (True, False), (False, False))
    ),
    Dialect(form=Form.CHAT, ignore_eos=False, min_tokens=False, is_strict=True),
)
"""Most exact first; without either field, answers may end early."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn that is over: what was asked, and what was answered."""

    request: PlannedRequest
    text: str


def body(
    dialect: Dialect, model: str, request: PlannedRequest, history: Sequence[Turn] = ()
) -> dict[str, object]:
    """Build the JSON body: greedy, streamed, with usage, and of exactly the planned length.

    Args:
        dialect: What the endpoint understands.
        model: Its name there.
        request: This turn.
        history: Those before it. In chat and as text they are sent with their answers. As token
            ids nobody knows the answers' ids; made-up ones stand in their place, so that only
            what was asked before can be found in a prefix cache.
    """
    fields: dict[str, object] = {"model": model, **_prompt(dialect.form, request, history)}
    if dialect.is_strict:
        fields["max_completion_tokens"] = request.output_tokens
    else:
        fields |= {"max_tokens": request.output_tokens, "temperature": 0.0}
    fields |= {"stream": True, "stream_options": {"include_usage": True}}
    if dialect.ignore_eos:
        fields["ignore_eos"] = True
    if dialect.min_tokens:
        fields["min_tokens"] = request.output_tokens
    return fields


def planned_prompt(request: PlannedRequest, history: Sequence[Turn]) -> int:
    """Return how many tokens a prompt was meant to have, with the turns before it."""
    before = sum(len(t.request.prompt_token_ids) + t.request.output_tokens for t in history)
    return before + len(request.prompt_token_ids)


def _prompt(
    form: Form, request: PlannedRequest, history: Sequence[Turn]
) -> dict[str, object]:  # fmt: skip
    match form:
        case Form.TOKEN_IDS:
            before = [i for turn in history for i in (*turn.request.prompt_token_ids, *_ids(turn))]
            return {"prompt": [*before, *request.prompt_token_ids]}
        case Form.TEXT:
            said = [part for t in history for part in (words(t.request.prompt_token_ids), t.text)]
            return {"prompt": " ".join([*said, words(request.prompt_token_ids)])}
        case Form.CHAT:
            messages = [message for turn in history for message in _messages(turn)]
            asked = {"role": "user", "content": words(request.prompt_token_ids)}
            return {"messages": [*messages, asked]}


def words(token_ids: Sequence[int]) -> str:
    """Write ids as text of about as many tokens."""
    return " ".join(WORDS[i % len(WORDS)] for i in token_ids)


def _ids(turn: Turn) -> list[int]:
    """Return ids in the place of an answer's: the question's own, over and over."""
    asked = turn.request.prompt_token_ids
    return [asked[n % len(asked)] for n in range(turn.request.output_tokens)]


def _messages(turn: Turn) -> list[dict[str, str]]:
    return [
        {"role": "user", "content": words(turn.request.prompt_token_ids)},
        {"role": "assistant", "content": turn.text},
    ]
