"""Prompts in other forms: continued, echoed, given as ids; the counts of usage are the evidence."""

from pagelet_bench.core.check.answers import ask, must, read
from pagelet_bench.core.check.refusals import ask_refusal, refused
from pagelet_bench.core.check.target import OPENING, SHORT_TOKENS, Target
from pagelet_bench.core.check.verdict import (
    Need,
    Probe,
    Steps,
    broken,
    honoured,
    ignored,
    untestable,
    when,
)

_BEGUN = [
    {"role": "user", "content": "Where does the keeper live?"},
    {"role": "assistant", "content": "The keeper lives in a"},
]
_TOKEN_IDS = list(range(1000, 1012))


def token_ids(target: Target) -> Steps:
    """Send ids, which need no tokenizer: so many are counted."""
    answer = yield from ask(target.complete(list(_TOKEN_IDS), max_tokens=2))
    count = answer.count("prompt_tokens")
    given = len(_TOKEN_IDS)
    evidence = f"{given} ids are {count} tokens"
    return when(given <= count <= given + 1, evidence, evidence)  # some put a token in front


def prompt_list(target: Target) -> Steps:
    """Send two prompts: two choices come."""
    answer = yield from ask(target.complete([OPENING, "Say hello."], max_tokens=4))
    indices = sorted(choice.index for choice in answer.choices)
    return when(indices == [0, 1], "two prompts, choices 0 and 1", f"choices {indices}")


def echo(target: Target) -> Steps:
    """Check that the text begins with the prompt."""
    answer = yield from ask(target.complete(max_tokens=4, echo=True))
    begins = answer.text.lstrip().startswith(OPENING)
    return when(begins, "the text begins with the prompt", f"the text is {answer.text[:60]!r}")


def suffix(target: Target) -> Steps:
    """Check that a suffix is part of the prompt."""
    plain = yield from ask(target.complete(max_tokens=2))
    answer = yield from ask(target.complete(max_tokens=2, suffix=" and then it was night."))
    before, after = plain.count("prompt_tokens"), answer.count("prompt_tokens")
    return when(
        after > before,
        f"a suffix adds {after - before} prompt tokens",
        f"the prompt has {after} tokens with and without suffix",
    )


def best_of(target: Target) -> Steps:
    """Check that three answers are drawn for one: OpenAI counts all of them."""
    request = target.complete(max_tokens=SHORT_TOKENS, best_of=3, temperature=1)
    answer = yield from ask(request)
    count = answer.count("completion_tokens")
    return when(
        count > SHORT_TOKENS,
        f"{count} tokens were drawn for {SHORT_TOKENS}",
        f"{count} tokens were drawn: one answer, not the best of three",
    )


def continue_final(target: Target) -> Steps:
    """Check that an answer begun is gone on with: its turn does not end, no other begins."""
    plain = yield from ask(target.chat(list(_BEGUN), max_tokens=SHORT_TOKENS))
    fields = {"continue_final_message": True, "add_generation_prompt": False}
    answer = yield from ask(target.chat(list(_BEGUN), max_tokens=SHORT_TOKENS, **fields))
    before, after = plain.count("prompt_tokens"), answer.count("prompt_tokens")
    return when(
        after < before,
        f"{before} prompt tokens became {after}; the text goes on {answer.text[:40]!r}",
        f"the prompt has {after} tokens, {before} without",
    )


def generation_prompt(target: Target) -> Steps:
    """Check that the beginning of the assistant's turn can be left out."""
    plain = yield from ask(target.chat(max_tokens=2))
    answer = yield from ask(target.chat(max_tokens=2, add_generation_prompt=False))
    before, after = plain.count("prompt_tokens"), answer.count("prompt_tokens")
    return when(
        after < before,
        f"{before} prompt tokens became {after}",
        f"the prompt has {after} tokens, {before} without",
    )


def contradiction(target: Target) -> Steps:
    """Ask to go on with a turn and to begin another one."""
    fields = {"continue_final_message": True, "add_generation_prompt": True}
    request = target.chat(list(_BEGUN), **fields)
    return refused((yield from ask_refusal(request, "two demands that exclude each other pass")))


def template_kwargs(target: Target) -> Steps:
    """Turn a template's thinking off; most templates have none to turn off."""
    plain = yield from ask(target.chat(max_tokens=2))
    counts = {plain.count("prompt_tokens")}
    for value in (False, True):
        fields = {"chat_template_kwargs": {"enable_thinking": value}}
        answer = yield from ask(target.chat(max_tokens=2, **fields))
        counts.add(answer.count("prompt_tokens"))
    if len(counts) == 1:
        return untestable("accepted; this model's template does not use enable_thinking")
    return honoured(f"enable_thinking changes the prompt: {sorted(counts)} tokens")


def template_kwargs_reserved(target: Target) -> Steps:
    """Try to replace the conversation through the template's arguments."""
    plain = yield from ask(target.chat(max_tokens=2))
    message = {"role": "user", "content": "Something else entirely. " * 20}
    exchange = yield target.chat(max_tokens=2, chat_template_kwargs={"messages": [message]})
    if 400 <= exchange.status < 500:
        return refused(exchange)
    answer = read(exchange)
    before, after = plain.count("prompt_tokens"), answer.count("prompt_tokens")
    if before != after:
        return broken(
            f"messages of chat_template_kwargs replace the conversation's: {after} tokens"
        )
    return ignored("messages in chat_template_kwargs are dropped in silence")


def truncate(target: Target) -> Steps:
    """Cut the prompt to its last tokens."""
    answer = yield from ask(target.complete(max_tokens=2, truncate_prompt_tokens=4))
    count = answer.count("prompt_tokens")
    return when(count == 4, "4 prompt tokens", f"{count} prompt tokens")


def logprobs_of_echo(target: Target) -> Steps:
    """Score a given text: `echo` with `max_tokens` 0."""
    request = target.complete(max_tokens=0, echo=True, logprobs=1)
    answer = yield from ask(request)
    scored = answer.choices[0].logprobs
    must(isinstance(scored, dict), "logprobs is not an object")
    values = scored.get("token_logprobs")
    must(isinstance(values, list), "logprobs.token_logprobs is not a list")
    count = answer.count("prompt_tokens")
    return when(
        len(values) == count,
        f"{count} prompt tokens, each with a log-probability",
        f"{len(values)} log-probabilities for {count} prompt tokens",
    )


REQ, OPT, REF = Need.REQUIRED, Need.OPTIONAL, Need.REFUSABLE
PROBES = (
    Probe(id="prompts.token_ids", field="prompt (ids)", proves="as many prompt tokens as ids",
          need=REF, steps=token_ids),
    Probe(id="prompts.list", field="prompt (list)", proves="a choice for each prompt",
          need=REF, steps=prompt_list),
    Probe(id="prompts.echo", field="echo", proves="the text begins with the prompt",
          need=REF, steps=echo),
    Probe(id="prompts.echo_logprobs", field="echo, logprobs, max_tokens 0",
          proves="a log-probability for each prompt token", need=REF, steps=logprobs_of_echo),
    Probe(id="prompts.suffix", field="suffix", proves="adds prompt tokens", need=REF, steps=suffix),
    Probe(id="prompts.best_of", field="best_of", proves="more tokens drawn than given",
          need=REF, steps=best_of),
    Probe(id="prompts.continue_final_message", field="continue_final_message",
          proves="fewer prompt tokens: the turn stays open", need=REF, steps=continue_final),
    Probe(id="prompts.add_generation_prompt", field="add_generation_prompt",
          proves="fewer prompt tokens when false", need=REF, steps=generation_prompt),
    Probe(id="prompts.continue_contradiction",
          field="continue_final_message (with add_generation_prompt)", proves="a 4xx",
          need=REF, steps=contradiction),
    Probe(id="prompts.chat_template_kwargs", field="chat_template_kwargs",
          proves="enable_thinking changes the prompt", need=REF, steps=template_kwargs),
    Probe(id="prompts.chat_template_kwargs_reserved", field="chat_template_kwargs (messages)",
          proves="a 4xx; the conversation stays", need=OPT, steps=template_kwargs_reserved),
    Probe(id="prompts.truncate_prompt_tokens", field="truncate_prompt_tokens",
          proves="so many prompt tokens", need=REF, steps=truncate),
)  # fmt: skip
