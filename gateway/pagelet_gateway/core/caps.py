"""What one request may ask for: refused before an engine sees it where that is sure.

The gateway has no tokenizer, so it judges only what the request says in numbers: output asked for,
and prompts given as token ids. The cap of prompts in text travels to the engine, which counts
(header x-pagelet-max-prompt-tokens); the output's too, since an engine also knows how many
prompts one request carries.
"""

from pagelet_gateway.core.route_table import Caps

BYTES_PER_TOKEN = 4
"""English text in common vocabularies; only an estimate, settled once the engine has counted."""

USUAL_OUTPUT_TOKENS = 512
"""What an answer without a limit of its own is taken for until it ends."""


def refusal(caps: Caps, *, max_tokens: int | None, num_choices: int) -> str | None:
    """Say why a request asks for more output than it may; None if it does not.

    Args:
        caps: Of the model.
        max_tokens: Asked for per choice; None leaves it to the model.
        num_choices: Answers asked for, of all prompts.
    """
    cap = caps.max_output_tokens
    if cap is None:
        return None
    if num_choices > cap:
        return f"{num_choices} answers are asked for; all may have {cap} output tokens together."
    if max_tokens is not None and max_tokens * num_choices > cap:
        each = f" for each of {num_choices} choices" if num_choices > 1 else ""
        return (
            f"{max_tokens} output tokens are asked for{each}; this model gives at most {cap} "
            f"per request."
        )
    return None


def prompt_refusal(caps: Caps, num_prompt_ids: int | None) -> str | None:
    """Say why a prompt given as token ids is too long; None if it is not, or is text."""
    cap = caps.max_prompt_tokens
    if cap is None or num_prompt_ids is None or num_prompt_ids <= cap:
        return None
    return f"The prompt has {num_prompt_ids} tokens; at most {cap} are allowed here. Shorten it."


def tighter(one: Caps, other: Caps) -> Caps:
    """Return what keeps to both."""
    return Caps(
        max_prompt_tokens=_least(one.max_prompt_tokens, other.max_prompt_tokens),
        max_output_tokens=_least(one.max_output_tokens, other.max_output_tokens),
    )


def output_limit(caps: Caps, *, max_tokens: int | None, num_choices: int) -> int | None:
    """Return the output tokens per choice to write into a body for a server that knows no caps.

    None leaves the body as it is. Never more than was asked for, never more than the cap for
    all choices together.
    """
    if caps.max_output_tokens is None:
        return None
    return _least(max_tokens, max(1, caps.max_output_tokens // num_choices))


def estimate(caps: Caps, *, num_prompt_bytes: int, max_tokens: int | None, num_choices: int) -> int:
    """Return about how many tokens a request will use, prompt and output together."""
    output = max_tokens
    if output is None:
        output = output_limit(caps, max_tokens=USUAL_OUTPUT_TOKENS, num_choices=num_choices)
    if output is None:
        output = USUAL_OUTPUT_TOKENS
    return prompt_estimate(num_prompt_bytes) + output * num_choices


def prompt_estimate(num_prompt_bytes: int) -> int:
    """Return about how many tokens a prompt has."""
    return -(-num_prompt_bytes // BYTES_PER_TOKEN)


def _least(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)
