"""What the draw of one token came to: an id, or why there is none."""

from enum import Enum


class NoToken(Enum):
    """Why nothing could be drawn, which decides who can mend it."""

    NOT_FINITE = "not_finite"
    """The model's logits were not finite numbers: the model's fault, or this program's."""

    NONE_ALLOWED = "none_allowed"
    """The logits were finite, but the sequence's own settings allow no token: the client's."""


Draw = int | NoToken
"""A token's id, or why there is none; the latter ends the sequence."""
