"""The shape of plain answers, and the fields that say how long they may be."""

from pagelet_bench.core.check.answers import Answer, ask, must
from pagelet_bench.core.check.target import PROSE, SHORT_TOKENS, Target
from pagelet_bench.core.check.verdict import (
    Finding,
    Need,
    Probe,
    Steps,
    broken,
    honoured,
    ignored,
    untestable,
    when,
)

_TURNS = [
    {"role": "user", "content": "My name is Ada."},
    {"role": "assistant", "content": "Hello Ada."},
    {"role": "user", "content": "What is my name?"},
]


def chat_object(target: Target) -> Steps:
    """Check every field that typed clients require."""
    answer = yield from ask(target.chat())
    return _object(answer, "chat.completion", target)


def completion_object(target: Target) -> Steps:
    """Check every field that typed clients require."""
    answer = yield from ask(target.complete())
    return _object(answer, "text_completion", target)


def _object(answer: Answer, kind: str, target: Target) -> Finding:
    body = answer.body
    must(body.get("object") == kind, f"object is {body.get('object')!r}, not {kind!r}")
    must(isinstance(body.get("id"), str) and body["id"] != "", "id is not a string")
    must(type(body.get("created")) is int, "created is not an integer")
    must(isinstance(body.get("model"), str), "model is not a string")
    if not answer.text:
        return broken("the answer has no text")
    return honoured(f"id, object, created, model, choices; {len(answer.text)} characters of text")


def usage(target: Target) -> Steps:
    """Check that the counts are there and add up."""
    answer = yield from ask(target.chat())
    if not answer.usage:
        return ignored("the answer has no usage")
    prompt, output = answer.count("prompt_tokens"), answer.count("completion_tokens")
    total = answer.count("total_tokens")
    must(total == prompt + output, f"{prompt} + {output} tokens are given as {total}")
    must(prompt > 0 and output > 0, f"{prompt} prompt and {output} output tokens cannot be")
    return honoured(f"{prompt} + {output} = {total}")


def cached_tokens(target: Target) -> Steps:
    """Ask the same long question twice: the second time its beginning is known."""
    prompt = f"{PROSE} " * 12
    yield from ask(target.chat(prompt, max_tokens=2))
    answer = yield from ask(target.chat(prompt, max_tokens=2))
    details = answer.usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    if type(cached) is not int:
        return ignored("usage.prompt_tokens_details.cached_tokens is not given")
    must(0 <= cached <= answer.count("prompt_tokens"), f"{cached} cached tokens cannot be")
    return when(
        cached > 0,
        f"{cached} of {answer.count('prompt_tokens')} prompt tokens were cached",
        "cached_tokens is 0 for a prompt sent twice",
    )


def system_fingerprint(target: Target) -> Steps:
    """Check that the same backend calls itself the same."""
    first = yield from ask(target.chat(max_tokens=2))
    second = yield from ask(target.chat(max_tokens=2))
    prints = [answer.body.get("system_fingerprint") for answer in (first, second)]
    if not isinstance(prints[0], str):
        return ignored("system_fingerprint is not given")
    return when(prints[0] == prints[1], f"{prints[0]!r} twice", f"two requests gave {prints!r}")


def turns(target: Target) -> Steps:
    """Check that earlier turns are part of the prompt."""
    alone = yield from ask(target.chat([_TURNS[-1]], max_tokens=2))
    answer = yield from ask(target.chat(list(_TURNS), max_tokens=2))
    return _grew(alone, answer, "two more turns")


def system_message(target: Target) -> Steps:
    """Check that a system message is part of the prompt."""
    return (yield from _with_role(target, "system"))


def developer_message(target: Target) -> Steps:
    """Check that a developer message is part of the prompt."""
    return (yield from _with_role(target, "developer"))


def _with_role(target: Target, role: str) -> Steps:
    # Some templates add a system message of their own; a long one is longer than theirs.
    text = "You answer in the voice of an old sailor who has seen every sea. " * 6
    asked = {"role": "user", "content": PROSE}
    alone = yield from ask(target.chat([asked], max_tokens=2))
    answer = yield from ask(target.chat([{"role": role, "content": text}, asked], max_tokens=2))
    return _grew(alone, answer, f"a {role} message")


def _grew(alone: Answer, answer: Answer, what: str) -> Finding:
    before, after = alone.count("prompt_tokens"), answer.count("prompt_tokens")
    return when(
        after > before,
        f"{what}: {before} prompt tokens became {after}",
        f"{what} left the prompt at {after} tokens",
    )


def content_parts(target: Target) -> Steps:
    """Check that a list of text parts reads like the text."""
    parts = [{"type": "text", "text": PROSE}]
    plain = yield from ask(target.chat(max_tokens=SHORT_TOKENS))
    answer = yield from ask(
        target.chat([{"role": "user", "content": parts}], max_tokens=SHORT_TOKENS)
    )
    same = plain.count("prompt_tokens") == answer.count("prompt_tokens")
    return when(
        same,
        f"a text part counts {answer.count('prompt_tokens')} prompt tokens like the text itself",
        f"{plain.count('prompt_tokens')} prompt tokens became {answer.count('prompt_tokens')}",
    )


def user(target: Target) -> Steps:
    """Check that a request with `user` is served; it has no effect to observe."""
    answer = yield from ask(target.chat(user="check", max_tokens=2))
    return honoured(f"accepted, as it must be; finish_reason {answer.finish}")


def max_tokens(target: Target) -> Steps:
    """Count the tokens of an answer that would be longer."""
    return _length((yield from ask(target.chat(max_tokens=5))))


def max_completion_tokens(target: Target) -> Steps:
    """Count the tokens under the newer name."""
    return _length((yield from ask(target.chat(max_tokens=None, max_completion_tokens=5))))


def completion_max_tokens(target: Target) -> Steps:
    """Count the tokens of a plain completion."""
    return _length((yield from ask(target.complete(max_tokens=5))))


def _length(answer: Answer) -> Finding:
    count = answer.count("completion_tokens")
    if count > 5:
        return ignored(f"{count} tokens where 5 are allowed")
    if answer.finish != "length":
        if count < 5:
            return untestable(f"the answer ended by itself after {count} tokens")
        return broken(f"an answer cut after {count} tokens has finish_reason {answer.finish!r}")
    return honoured(f"{count} tokens, finish_reason length")


def choices(target: Target) -> Steps:
    """Ask for three choices, drawn apart."""
    answer = yield from ask(target.chat(n=3, temperature=1, max_tokens=16))
    indices = sorted(choice.index for choice in answer.choices)
    if len(indices) == 1:
        return ignored("one choice where three are asked for")
    must(indices == [0, 1, 2], f"the choices have the indices {indices}")
    texts = {choice.text for choice in answer.choices}
    return when(
        len(texts) > 1, f"three choices, {len(texts)} different", "three times the same text"
    )


REQ, OPT, REF = Need.REQUIRED, Need.OPTIONAL, Need.REFUSABLE
PROBES = (
    Probe(id="basic.chat_object", field="chat completion", proves="all fields of OpenAI's object",
          need=REQ, steps=chat_object),
    Probe(id="basic.completion_object", field="text completion",
          proves="all fields of OpenAI's object", need=REQ, steps=completion_object),
    Probe(id="basic.usage", field="usage", proves="prompt and output add up to the total",
          need=REQ, steps=usage),
    Probe(id="basic.cached_tokens", field="usage.prompt_tokens_details.cached_tokens",
          proves="above 0 for a long prompt sent twice", need=OPT, steps=cached_tokens),
    Probe(id="basic.system_fingerprint", field="system_fingerprint",
          proves="given, and the same twice", need=OPT, steps=system_fingerprint),
    Probe(id="basic.turns", field="messages (turns)", proves="earlier turns add prompt tokens",
          need=REQ, steps=turns),
    Probe(id="basic.system", field="messages (system)",
          proves="a system message adds prompt tokens", need=REQ, steps=system_message),
    Probe(id="basic.developer", field="messages (developer)",
          proves="a developer message adds prompt tokens", need=REF, steps=developer_message),
    Probe(id="basic.content_parts", field="messages (text parts)",
          proves="a text part makes the prompt of the text", need=REQ, steps=content_parts),
    Probe(id="basic.user", field="user", proves="the request is served", need=REQ, steps=user),
    Probe(id="basic.max_tokens", field="max_tokens", proves="5 tokens, finish_reason length",
          need=REQ, steps=max_tokens),
    Probe(id="basic.max_completion_tokens", field="max_completion_tokens",
          proves="5 tokens, finish_reason length", need=REQ, steps=max_completion_tokens),
    Probe(id="basic.completion_max_tokens", field="max_tokens (completions)",
          proves="5 tokens, finish_reason length", need=REQ, steps=completion_max_tokens),
    Probe(id="basic.n", field="n", proves="three choices, indices 0 to 2, not all alike",
          need=REQ, steps=choices),
)  # fmt: skip
