"""What a constraint makes of an output, in a vocabulary of bytes and control tokens."""

from pagelet_engine.constraints.matcher import build_tokenizer, compile_constraint
from pagelet_engine.constraints.messages import Vocabulary

EOS, MARK, ARGS_MARK, THINK, END_THINK = 256, 257, 258, 259, 260
_CONTROL = [EOS, MARK, ARGS_MARK, THINK, END_THINK]
_TOKENIZER = build_tokenizer(
    Vocabulary([bytes([byte]) for byte in range(256)] + [b""] * len(_CONTROL), _CONTROL, [EOS])
)


def fits(constraint, *parts):
    """Return whether an output of texts and control tokens fits as a whole."""
    return _walk(constraint, parts) == "whole"


def may_begin(constraint, *parts):
    """Return whether an output that fits can begin so."""
    return _walk(constraint, parts) != "refused"


def _walk(constraint, parts):
    matcher = compile_constraint(_TOKENIZER, constraint)
    assert not matcher.is_error(), matcher.get_error()
    for part in parts:
        for token in [part] if isinstance(part, int) else part.encode():
            mask = matcher.compute_bitmask()
            if not mask[token // 8] >> (token % 8) & 1:
                return "refused"
            matcher.consume_token(token)
    return "whole" if matcher.is_accepting() else "open"
