"""Log-probabilities: present when asked for, and numbers that can be."""

from pagelet_bench.core.check.answers import Answer, ask, must
from pagelet_bench.core.check.scores import chat_scores, completion_scores
from pagelet_bench.core.check.streams import ask_streamed
from pagelet_bench.core.check.target import SHORT_TOKENS, Target
from pagelet_bench.core.check.verdict import (
    Finding,
    Need,
    Probe,
    Steps,
    broken,
    honoured,
    ignored,
)


def chat_logprobs(target: Target) -> Steps:
    """Check that log-probabilities are numbers that can be."""
    answer = yield from ask(target.chat(max_tokens=SHORT_TOKENS, logprobs=True, top_logprobs=3))
    if answer.choices[0].logprobs is None:
        return ignored("logprobs is null though asked for")
    return _scored(answer.choices[0].logprobs, answer, tops=3)


def streamed_logprobs(target: Target) -> Steps:
    """Check the log-probabilities of a stream, all chunks together."""
    streamed = yield from ask_streamed(
        target.chat(max_tokens=SHORT_TOKENS, logprobs=True, top_logprobs=2, stream=True,
                    stream_options={"include_usage": True})
    )  # fmt: skip
    pieces = streamed.answer.choices[0].logprobs
    if not pieces:
        return ignored("no chunk has logprobs though asked for")
    must(all(isinstance(piece, dict) for piece in pieces), "logprobs of a chunk is no object")
    must(
        all(isinstance(piece.get("content"), list) for piece in pieces),
        "logprobs.content of a chunk is no list",
    )
    items = [item for piece in pieces for item in piece["content"]]
    return _scored({"content": items}, streamed.answer, tops=2)


def no_logprobs(target: Target) -> Steps:
    """Check that nobody gets log-probabilities without asking."""
    answer = yield from ask(target.chat(max_tokens=2))
    given = answer.choices[0].logprobs is not None
    return broken("logprobs are given unasked") if given else honoured("logprobs is null unasked")


def _scored(logprobs: object, answer: Answer, *, tops: int) -> Finding:
    scores = chat_scores(logprobs)
    count = answer.count("completion_tokens")
    must(abs(len(scores) - count) <= 1, f"{len(scores)} logprobs for {count} tokens")
    if any(len(score.tops) < tops for score in scores):
        return ignored(f"fewer than {tops} top_logprobs at a token")
    for score in scores:
        score.check()
    best = all(score.is_best for score in scores)
    must(best, "at temperature 0 a token is not the likeliest of its top_logprobs")
    return honoured(f"{len(scores)} tokens, each at most 0, the likeliest of {tops}, sums up to 1")


def completion_logprobs(target: Target) -> Steps:
    """Check the older form: four lists of one length."""
    answer = yield from ask(target.complete(max_tokens=SHORT_TOKENS, logprobs=2))
    if answer.choices[0].logprobs is None:
        return ignored("logprobs is null though asked for")
    scores = completion_scores(answer.choices[0].logprobs)
    count = answer.count("completion_tokens")
    must(abs(len(scores) - count) <= 1, f"{len(scores)} logprobs for {count} tokens")
    for score in scores:
        score.check()
    return honoured(f"{len(scores)} tokens in four lists of one length, numbers at most 0")


def prompt_logprobs(target: Target) -> Steps:
    """Check that every prompt token but the first has one."""
    answer = yield from ask(target.complete(max_tokens=1, prompt_logprobs=1))
    found = answer.choices[0].extra.get("prompt_logprobs", answer.body.get("prompt_logprobs"))
    if found is None:
        return ignored("prompt_logprobs is not in the answer")
    must(isinstance(found, list) and bool(found), "prompt_logprobs is not a list")
    count = answer.count("prompt_tokens")
    must(len(found) == count, f"{len(found)} prompt_logprobs for {count} prompt tokens")
    must(found[0] is None, "the first prompt token has a log-probability")
    must(all(isinstance(item, dict) for item in found[1:]), "a prompt token has no object")
    return honoured(f"{count} entries for {count} prompt tokens, the first null")


REQ, REF = Need.REQUIRED, Need.REFUSABLE
PROBES = (
    Probe(id="logprobs.chat", field="logprobs, top_logprobs",
          proves="numbers at most 0, the greedy token on top, sums at most 1",
          need=REQ, steps=chat_logprobs),
    Probe(id="logprobs.stream", field="logprobs (stream)", proves="the same over all chunks",
          need=REQ, steps=streamed_logprobs),
    Probe(id="logprobs.unasked", field="logprobs (absent)", proves="null without asking",
          need=REQ, steps=no_logprobs),
    Probe(id="logprobs.completions", field="logprobs (completions)",
          proves="four lists of one length, numbers at most 0", need=REQ,
          steps=completion_logprobs),
    Probe(id="logprobs.prompt", field="prompt_logprobs",
          proves="one entry for each prompt token", need=REF, steps=prompt_logprobs),
)  # fmt: skip
