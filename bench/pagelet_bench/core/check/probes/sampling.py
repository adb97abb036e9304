"""What decides the next token: each field must change, or pin, a text it would not otherwise."""

from collections.abc import Generator
from typing import Any

from pagelet_bench.core.check.answers import Answer, ask
from pagelet_bench.core.check.exchange import Exchange, Request
from pagelet_bench.core.check.target import SHORT_TOKENS, Target
from pagelet_bench.core.check.verdict import (
    Finding,
    Need,
    Probe,
    Steps,
    honoured,
    ignored,
    untestable,
    when,
)

TOKEN_A, TOKEN_B = 1000, 2000
"""Two ids that any vocabulary of a language model has; which texts they are does not matter."""

_SHORT_QUESTION = "Say hello."
_MAX_NATURAL_TOKENS = 64


def temperature(target: Target) -> Steps:
    """Compare greedy texts with each other, then with hot ones."""
    first = yield from ask(target.chat())
    second = yield from ask(target.chat())
    if first.text != second.text:
        return ignored("two texts at temperature 0 differ")
    for _ in range(2):
        hot = yield from ask(target.chat(temperature=1.5))
        if hot.text != first.text:
            return honoured("0 gives the same text twice, 1.5 another")
    return ignored("three texts at 0 and 1.5 are all alike")


def seed(target: Target) -> Steps:
    """Draw twice from one seed and once from another."""
    texts = []
    for value in (7, 7, 8, 9):
        answer = yield from ask(target.chat(temperature=1, seed=value))
        texts.append(answer.text)
        if len(texts) == 2 and texts[0] != texts[1]:
            return ignored("the same seed gives two texts")
    return when(
        len(set(texts)) > 1,
        f"seed 7 the same text twice, seeds 8 and 9 {len(set(texts)) - 1} other",
        "seeds 7, 8 and 9 give one text: nothing is drawn",
    )


def top_p(target: Target) -> Steps:
    """Leave only the likeliest token by `top_p`."""
    return (yield from _pinned(target, "top_p", 1e-5))


def top_k(target: Target) -> Steps:
    """Leave only the likeliest token by `top_k`."""
    return (yield from _pinned(target, "top_k", 1))


def min_p(target: Target) -> Steps:
    """Leave only the likeliest token by `min_p`."""
    return (yield from _pinned(target, "min_p", 1.0))


def _pinned(target: Target, name: str, value: float) -> Steps:
    """Whether hot draws become one text, and the greedy one, under a field."""
    greedy = yield from ask(target.chat())
    free = []
    for number in (1, 2):
        answer = yield from ask(target.chat(temperature=1.8, seed=number))
        free.append(answer.text)
    if free[0] == free[1] or greedy.text in free:
        return untestable("temperature 1.8 does not vary the text, so there is nothing to pin")
    for number in (1, 2):
        pinned = yield from ask(target.chat(temperature=1.8, seed=number, **{name: value}))
        if pinned.text != greedy.text:
            return ignored(f"{name} = {value} leaves more than the likeliest token")
    return honoured(f"{name} = {value} at temperature 1.8 gives the greedy text twice")


def presence_penalty(target: Target) -> Steps:
    """Compare greedy texts with and without."""
    return (yield from _changes(target, {"presence_penalty": 2.0}, {"presence_penalty": -2.0}))


def frequency_penalty(target: Target) -> Steps:
    """Compare greedy texts with and without."""
    return (yield from _changes(target, {"frequency_penalty": 2.0}, {"frequency_penalty": -2.0}))


def repetition_penalty(target: Target) -> Steps:
    """Compare greedy texts with and without."""
    return (yield from _changes(target, {"repetition_penalty": 1.8}, {"repetition_penalty": 0.5}))


def _changes(target: Target, up: dict[str, float], down: dict[str, float]) -> Steps:
    """Whether a greedy text that comes twice without a field is another one with it."""
    repeating = "Repeat the words yes no twenty times. Begin: yes no yes no yes no yes no"
    plain = yield from ask(target.chat(repeating, max_tokens=48))
    again = yield from ask(target.chat(repeating, max_tokens=48))
    if plain.text != again.text:
        return untestable("two texts at temperature 0 differ, so a change proves nothing")
    for fields in (up, down):
        answer = yield from ask(target.chat(repeating, max_tokens=48, **fields))
        if answer.text != plain.text:
            return honoured(f"{_pair(fields)} changes a greedy text that came the same twice")
    return ignored(f"{_pair(up)} and {_pair(down)} give the text that comes without them")


def _pair(fields: dict[str, float]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in fields.items())


def logit_bias(target: Target) -> Steps:
    """Force one token, then another."""
    return (yield from _forced(target, "logit_bias", {str(TOKEN_A): 100}, {str(TOKEN_B): 100}))


def allowed_token_ids(target: Target) -> Steps:
    """Allow one token, then another."""
    return (yield from _forced(target, "allowed_token_ids", [TOKEN_A], [TOKEN_B]))


def _forced(target: Target, name: str, first: Any, second: Any) -> Steps:
    """Whether each of two tokens, forced, fills the whole answer with itself."""
    plain = yield from ask(target.chat(max_tokens=SHORT_TOKENS))
    texts = []
    for value in (first, second):
        answer = yield from ask(target.chat(max_tokens=SHORT_TOKENS, **{name: value}))
        texts.append(answer.text)
    if texts[0] == plain.text or texts[1] == plain.text:
        return ignored(f"{name} leaves the text as it is without")
    repeated = all(repeats(text, SHORT_TOKENS) for text in texts)
    return when(
        repeated and texts[0] != texts[1],
        f"each of two forced tokens fills the answer: {texts[0]!r}, {texts[1]!r}",
        f"a forced token does not fill the answer: {texts[0]!r}, {texts[1]!r}",
    )


def repeats(text: str, times: int) -> bool:
    """Whether a text is one piece over and over, `times` times; a first space may be missing."""
    for whole in (text, f" {text}", f"▁{text}"):
        piece, rest = divmod(len(whole), times)
        if piece and not rest and whole == whole[:piece] * times:
            return True
    return False


def bad_words(target: Target) -> Steps:
    """Forbid a word that comes without."""
    plain = yield from ask(target.chat())
    words = [word for word in plain.text.split()[1:-1] if word.isalpha() and len(word) > 1]
    if not words:
        return untestable(f"the text has no word to forbid: {plain.text[:80]!r}")
    answer = yield from ask(target.chat(bad_words=[words[0]]))
    return when(
        words[0] not in answer.text.split(),
        f"{words[0]!r} comes without and not with bad_words",
        f"{words[0]!r} comes in spite of bad_words",
    )


def min_tokens(target: Target) -> Steps:
    """Ask for more tokens than the answer has by itself."""
    natural = yield from _natural(target)
    if isinstance(natural, Finding):
        return natural
    wanted = natural.count("completion_tokens") + 8
    answer = yield from ask(target.chat(_SHORT_QUESTION, max_tokens=wanted + 8, min_tokens=wanted))
    count = answer.count("completion_tokens")
    return when(
        count >= wanted,
        f"{wanted - 8} tokens by itself, {count} with min_tokens = {wanted}",
        f"{count} tokens with min_tokens = {wanted}",
    )


def ignore_eos(target: Target) -> Steps:
    """Ask for an answer that does not end by itself."""
    natural = yield from _natural(target)
    if isinstance(natural, Finding):
        return natural
    most = natural.count("completion_tokens") + 8
    answer = yield from ask(target.chat(_SHORT_QUESTION, max_tokens=most, ignore_eos=True))
    count = answer.count("completion_tokens")
    return when(
        count == most and answer.finish == "length",
        f"{most - 8} tokens by itself, {count} with ignore_eos",
        f"{count} of {most} tokens, finish_reason {answer.finish}",
    )


def _natural(target: Target) -> Generator[Request, Exchange, Answer | Finding]:
    """Return an answer that ends by itself, or why there is none."""
    answer = yield from ask(target.chat(_SHORT_QUESTION, max_tokens=_MAX_NATURAL_TOKENS))
    if answer.finish == "stop":
        return answer
    return untestable(f"no answer of this model ended within {_MAX_NATURAL_TOKENS} tokens")


REQ, OPT, REF = Need.REQUIRED, Need.OPTIONAL, Need.REFUSABLE
PROBES = (
    Probe(id="sampling.temperature", field="temperature",
          proves="0 gives one text, 1.5 others", need=REQ, steps=temperature),
    Probe(id="sampling.seed", field="seed",
          proves="one seed one text, other seeds other texts", need=REF, steps=seed),
    Probe(id="sampling.top_p", field="top_p",
          proves="nearly 0 pins hot draws to the greedy text", need=REQ, steps=top_p),
    Probe(id="sampling.top_k", field="top_k",
          proves="1 pins hot draws to the greedy text", need=REF, steps=top_k),
    Probe(id="sampling.min_p", field="min_p",
          proves="1 pins hot draws to the greedy text", need=REF, steps=min_p),
    Probe(id="sampling.presence_penalty", field="presence_penalty",
          proves="changes a repetitive greedy text", need=REQ, steps=presence_penalty),
    Probe(id="sampling.frequency_penalty", field="frequency_penalty",
          proves="changes a repetitive greedy text", need=REQ, steps=frequency_penalty),
    Probe(id="sampling.repetition_penalty", field="repetition_penalty",
          proves="changes a repetitive greedy text", need=REF, steps=repetition_penalty),
    Probe(id="sampling.logit_bias", field="logit_bias",
          proves="+100 fills the answer with that token", need=REQ, steps=logit_bias),
    Probe(id="sampling.allowed_token_ids", field="allowed_token_ids",
          proves="one allowed token fills the answer", need=REF, steps=allowed_token_ids),
    Probe(id="sampling.bad_words", field="bad_words",
          proves="a word of the greedy text is gone", need=REF, steps=bad_words),
    Probe(id="sampling.min_tokens", field="min_tokens",
          proves="an answer that ended early goes on", need=REF, steps=min_tokens),
    Probe(id="sampling.ignore_eos", field="ignore_eos",
          proves="an answer that ended by itself reaches max_tokens", need=REF, steps=ignore_eos),
)  # fmt: skip
