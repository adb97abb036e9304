"""Tokenizers of SentencePiece vocabularies in GGUF files (`tokenizer.ggml.model` is `llama`).

Such a file has no merges: of two neighbours whose spellings together are a piece, those merge first
whose piece has the highest score, and of equal ones the leftmost. `merges_of` writes that order as
merges, so that the same backend serves as for other vocabularies. A character without a piece is
written as its bytes' tokens.

Text is `escaped` before it is cut: a space is a piece's U+2581, and a text begins with one more, as
does what follows a control token; user-defined pieces are cut out first and begin no text.

Sources: Kudo & Richardson 2018 (SentencePiece), and sentencepiece's own encoder, with which the
tests compare; https://github.com/ggml-org/ggml/blob/master/docs/gguf.md for the fields.
"""

import enum
from collections.abc import Sequence

from tokenizers import AddedToken, models
from tokenizers import Tokenizer as Backend

from pagelet_engine.errors import ModelLoadError
from pagelet_engine.model.gguf_metadata import GgufHeader
from pagelet_engine.text.token_bytes import byte_fallback_bytes
from pagelet_engine.text.tokenizer import Tokenizer

SPACE = "\u2581"


class Kind(enum.IntEnum):
    """What a token is: the values of `tokenizer.ggml.token_type`."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


def piece_tokenizer(header: GgufHeader, tokens: Sequence[str], kinds: Sequence[int]) -> Tokenizer:
    """Build the tokenizer of a file whose vocabulary has pieces with scores.

    Args:
        header: The file's head.
        tokens: Its pieces, by id.
        kinds: A `Kind` for each.

    Raises:
        ModelLoadError: Scores are missing or are not one for each piece.
    """
    scores = header.numbers("tokenizer.ggml.scores")
    if len(scores) != len(tokens):
        raise ModelLoadError(
            f"{header.path}: {len(tokens)} tokens, but {len(scores)} scores; "
            f"the file is damaged or was written by a faulty converter."
        )
    # What stands for an unknown character has no text of its own, like control tokens.
    hidden = (Kind.CONTROL, Kind.UNKNOWN)
    begins_with_space = header.fields.get("tokenizer.ggml.add_space_prefix") is not False
    return Tokenizer(
        _backend(tokens, kinds, scores),
        control_tokens={t: i for i, t in enumerate(tokens) if kinds[i] in hidden},
        token_bytes=byte_fallback_bytes,
        prefix_token_ids=_prefix(header),
        strip_first_space=begins_with_space,
        escape=escaped if begins_with_space else escaped_inside,
    )


def escaped(text: str) -> str:
    """Write a text as pieces spell it."""
    return SPACE + escaped_inside(text)


def escaped_inside(text: str) -> str:
    """Write a text as pieces spell it, for models that put no space before it."""
    return text.replace(" ", SPACE)


def merges_of(scores: dict[str, float]) -> list[tuple[str, str]]:
    """Return all merges into the pieces of `scores`, in the order in which they are tried.

    Args:
        scores: The score of each piece; those with more than one character come from merges.
    """
    merges = []
    for order, (piece, score) in enumerate(scores.items()):
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in scores and right in scores:
                merges.append((-score, order, cut, (left, right)))
    return [merge for *_, merge in sorted(merges)]


def _backend(tokens: Sequence[str], kinds: Sequence[int], scores: Sequence[float]) -> Backend:
    # Without control tokens, so that no text can ever merge into one.
    vocab = {t: i for i, t in enumerate(tokens) if kinds[i] != Kind.CONTROL}
    normal = {t: scores[i] for i, t in enumerate(tokens) if kinds[i] == Kind.NORMAL}
    unknown = next((t for i, t in enumerate(tokens) if kinds[i] == Kind.UNKNOWN), None)
    backend = Backend(
        models.BPE(
            vocab=vocab,
            merges=merges_of(normal),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    user_defined = [t for i, t in enumerate(tokens) if kinds[i] == Kind.USER_DEFINED]
    backend.add_tokens([AddedToken(t, normalized=False, special=False) for t in user_defined])
    return backend


def _prefix(header: GgufHeader) -> tuple[int, ...]:
    # Files of this kind say so only if a text does not begin with the mark.
    if header.fields.get("tokenizer.ggml.add_bos_token", True) is not True:
        return ()
    return (header.integer("tokenizer.ggml.bos_token_id", 1),)
