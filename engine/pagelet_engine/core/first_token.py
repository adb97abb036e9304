"""Whether a sequence's own settings leave a token to begin with.

What forbids single tokens from the start is known before anything is computed, so a request that
can never get a token is refused at the door. Settings that meet only later, such as a bad word of
two tokens or a constraint, are met when a token is drawn (`NoToken.NONE_ALLOWED`).
"""

from pagelet_engine.core.sampling_params import SamplingParams


def no_first_token(
    params: SamplingParams, vocab_size: int, eos_token_ids: frozenset[int]
) -> str | None:
    """Return why no token could come first, as `field: sentence`, or None if one can.

    Args:
        params: Their values are in range, see `SamplingParams.check`.
        vocab_size: Ids in [0, vocab_size) exist.
        eos_token_ids: What ends a sequence by itself.
    """
    forbidden = {
        "bad_words": {word[0] for word in params.bad_words if len(word) == 1},
        "min_tokens": _ends(params, eos_token_ids),
    }
    every = forbidden["bad_words"] | forbidden["min_tokens"]
    if params.allowed_token_ids is None:
        if len(every) < vocab_size:
            return None
        names, allowed = [], set(range(vocab_size))
    else:
        names, allowed = ["allowed_token_ids"], set(params.allowed_token_ids)
    if not allowed <= every:
        return None
    names += [name for name, token_ids in forbidden.items() if token_ids & allowed]
    beside = f" beside {' and '.join(names[1:])}" if names[1:] else ""
    why = (
        "; min_tokens forbids end-of-sequence and stop tokens" if names[-1] == "min_tokens" else ""
    )
    return f"{names[0]}: leaves no token to begin with{beside}{why}"


def _ends(params: SamplingParams, eos_token_ids: frozenset[int]) -> set[int]:
    """Return the ids that must not come first because they would end the sequence."""
    if params.min_tokens == 0:
        return set()
    return {*params.stop_token_ids, *(() if params.ignore_eos else eos_token_ids)}
