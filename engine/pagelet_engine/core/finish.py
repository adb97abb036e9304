"""Why a sequence ended, and who can mend it when that was an error."""

from enum import StrEnum


class FinishReason(StrEnum):
    """The values a client may see are OpenAI's; ABORT never leaves the server."""

    STOP = "stop"
    """End-of-sequence token, stop token or stop string."""

    LENGTH = "length"
    """max_tokens or the context window is used up."""

    ABORT = "abort"
    """The client left or a stop string was found outside; nobody reads this result."""

    ERROR = "error"
    """The sequence could not go on; its last `TokenOutput` carries the reason in `error`."""


class ErrorKind(StrEnum):
    """Who can mend an error, which decides what the client gets."""

    INVALID = "invalid"
    """The client, by another request."""

    OVERLOADED = "overloaded"
    """Nobody; try again later."""

    TIMEOUT = "timeout"
    """Nobody; the request's own deadline is over."""

    INTERNAL = "internal"
    """The model or this program."""
