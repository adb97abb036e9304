"""A prompt as the beginning of its own answer (`echo` of /v1/completions)."""

from collections.abc import Sequence
from dataclasses import dataclass

from pagelet_engine.text.detokenizer import Detokenizer
from pagelet_engine.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Echo:
    """A prompt's text, and where each of its tokens starts in it."""

    text: str
    token_ids: tuple[int, ...]
    offsets: tuple[int, ...]
    """Characters before each token; rising, at most the text's length."""


def echo_of(tokenizer: Tokenizer, prompt: str | list[int], token_ids: Sequence[int]) -> Echo:
    """Return what to show of a prompt.

    Args:
        tokenizer: The model's.
        prompt: As the client gave it. Token ids are shown with their control tokens' text, like
            /detokenize does.
        token_ids: Its ids, those that start every prompt included.
    """
    if isinstance(prompt, str):
        text, num_hidden = prompt, len(tokenizer.prefix_token_ids)
    else:
        text, num_hidden = tokenizer.decode(token_ids, keep_control=True), 0
    detokenizer = Detokenizer(tokenizer.spelling)
    starts, end = [], 0
    for index, token_id in enumerate(token_ids):
        starts.append(end)
        end += len(detokenizer.feed((token_id,))) if index >= num_hidden else 0
    # Some vocabularies mark a text's start with a space that is not part of it.
    num_extra = max(0, end + len(detokenizer.finish()) - len(text))
    offsets = tuple(min(max(start - num_extra, 0), len(text)) for start in starts)
    return Echo(text, tuple(token_ids), offsets)
