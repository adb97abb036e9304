"""Everything pagelet_engine raises on purpose, split by who can mend it.

    EngineError
    ├── ConfigError                 whoever configures the server; exit code 2 at start-up
    │   └── ModelLoadError          the model's files: missing, corrupt, unknown or absent tensors
    ├── RequestError                the client; HTTP 4xx, one line at INFO
    │   ├── InvalidRequestError         400 invalid_value
    │   ├── ContextLengthError          400 context_length_exceeded
    │   ├── PromptCapError              400 prompt_too_long
    │   ├── OutputCapError              400 output_cap_exceeded
    │   └── UnknownModelError           404 model_not_found
    ├── UnavailableError            nobody is wrong, try later; HTTP 503 with Retry-After
    │   ├── EngineDeadError             the engine process is gone; requests in flight end with it
    │   └── OverloadedError             the queue is full or too slow; HTTP 429
    ├── DeadlineError               the request's own time is over; HTTP 504
    ├── GenerationError             one sequence failed inside the engine; HTTP 500, only that one
    └── ProtocolError               a frame between the processes is unreadable; a bug

Anything else that escapes is a bug: HTTP 500 with a fixed sentence, traceback in the log.
`assert` states invariants of this code, never facts about its input.
"""


class EngineError(Exception):
    """Base of all errors this package raises on purpose."""


class ConfigError(EngineError):
    """The server cannot start as configured; the message says what to change."""


class ModelLoadError(ConfigError):
    """The model's files cannot be used; the message names the file or tensor."""


class RequestError(EngineError):
    """A request that can never succeed as sent.

    Attributes:
        status: HTTP status.
        code: OpenAI's string error code.
        param: The request field at fault, or None.
    """

    status = 400
    code = "invalid_value"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class InvalidRequestError(RequestError):
    """A field has a value that is not allowed."""


class ContextLengthError(RequestError):
    """Prompt plus requested output exceed the context window or the KV cache."""

    code = "context_length_exceeded"


class PromptCapError(RequestError):
    """The prompt is longer than the gateway allows."""

    code = "prompt_too_long"


class OutputCapError(RequestError):
    """More output is asked for than the gateway allows."""

    code = "output_cap_exceeded"


class UnknownModelError(RequestError):
    """The request names a model that is not served here."""

    status = 404
    code = "model_not_found"


class UnavailableError(EngineError):
    """The request could succeed later.

    Attributes:
        retry_after_s: Whole seconds for the Retry-After header.
    """

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EngineDeadError(UnavailableError):
    """The engine process ended; the message carries its last words."""


class OverloadedError(UnavailableError):
    """The engine did not take the request, or could not begin it in time."""


class DeadlineError(EngineError):
    """The request's deadline passed before its output was complete."""


class GenerationError(EngineError):
    """The engine gave one sequence up; the message is the sentence its client gets."""


class ProtocolError(EngineError):
    """A frame between the two processes is too long or not a known message."""
