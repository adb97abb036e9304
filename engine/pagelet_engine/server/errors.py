"""From whatever was raised to what the client reads: OpenAI's error object, always.

    RequestError                      its own status and code          never retried
    RefusedError                      429 rate_limit_exceeded, 503     Retry-After, x-should-retry
    OverloadedError                   429 rate_limit_exceeded          Retry-After
    UnavailableError, EngineDeadError 503 service_unavailable          Retry-After
    DeadlineError                     504 deadline_exceeded            x-should-retry: false
    GenerationError                   500 generation_failed
    unknown route, method             404 unknown_url, 405 method_not_allowed
    no key, unknown key, wrong scope  401 invalid_api_key, 403 permission_denied (see access)
    anything else                     500 internal_error, fixed sentence, traceback in the log

Source: https://platform.openai.com/docs/guides/error-codes and openai-python, which retries 408,
409, 429 and 5xx unless `x-should-retry` says otherwise.
"""

from dataclasses import dataclass, field
from http import HTTPStatus

import orjson
from starlette.exceptions import HTTPException
from starlette.responses import Response

from pagelet_engine.errors import (
    DeadlineError,
    GenerationError,
    OverloadedError,
    RequestError,
    UnavailableError,
)

DRAINING_HEADER = "x-pagelet-draining"
"""Set to 1 on refusals of a server that is about to exit, so that a gateway tries another."""

CODES = (
    *(
        "invalid_http",
        "invalid_json",
        "invalid_type",
        "invalid_value",
        "missing_required_parameter",
    ),
    *("unknown_parameter", "unsupported_parameter", "context_length_exceeded"),
    *(
        "model_not_found",
        "unknown_url",
        "method_not_allowed",
        "request_timeout",
        "deadline_exceeded",
    ),
    *("request_too_large", "headers_too_large", "unsupported_media_type", "rate_limit_exceeded"),
    *("service_unavailable", "server_starting", "server_draining"),
    *("invalid_api_key", "permission_denied", "misdirected_request"),
    *("generation_failed", "internal_error", "http_error"),
)
"""Every value of `error.code`."""


class RefusedError(UnavailableError):
    """This server takes no more work now."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str,
        retry_after_s: int = 1,
        draining: bool = False,
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.status = status
        self.code = code
        self.draining = draining


class BadRequestError(RequestError):
    """A request that cannot be read or names what is not offered; carries status and code."""

    def __init__(
        self, message: str, *, code: str, param: str | None = None, status: int = 400
    ) -> None:
        super().__init__(message, param=param)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An error as the client gets it, as a response or as an event within a stream."""

    status: int
    message: str
    code: str
    param: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """OpenAI's `error.type`."""
        if self.status == HTTPStatus.TOO_MANY_REQUESTS:
            return "rate_limit_error"
        if self.status == HTTPStatus.UNAUTHORIZED:
            return "authentication_error"
        if self.status == HTTPStatus.FORBIDDEN:
            return "permission_error"
        return "server_error" if self.status >= 500 else "invalid_request_error"

    def body(self) -> bytes:
        """Return the JSON of OpenAI's error object."""
        error = {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }
        return orjson.dumps({"error": error})

    def response(self) -> Response:
        """Return the whole HTTP response."""
        return Response(
            self.body(), self.status, headers=self.headers, media_type="application/json"
        )


INTERNAL_ERROR = ErrorReply(
    500,
    "The server had an error while processing your request.",
    "internal_error",
    headers={"x-should-retry": "false"},
)


def reply_for(error: Exception) -> ErrorReply:
    """Return what a client reads about `error`; nothing of a bug's text leaves the server."""
    match error:
        case RequestError():
            return ErrorReply(error.status, str(error), error.code, error.param)
        case RefusedError():
            headers = _retry_headers(error.retry_after_s)
            if error.draining:
                headers[DRAINING_HEADER] = "1"
            return ErrorReply(error.status, str(error), error.code, headers=headers)
        case OverloadedError():
            headers = _retry_headers(error.retry_after_s)
            return ErrorReply(429, str(error), "rate_limit_exceeded", headers=headers)
        case DeadlineError():
            # Whoever set the deadline has stopped waiting; a retry would only add load.
            headers = {"x-should-retry": "false"}
            return ErrorReply(504, str(error), "deadline_exceeded", headers=headers)
        case UnavailableError():
            headers = _retry_headers(error.retry_after_s)
            return ErrorReply(503, str(error), "service_unavailable", headers=headers)
        case GenerationError():
            return ErrorReply(500, str(error), "generation_failed")
        case HTTPException():
            return _reply_for_http(error)
    return INTERNAL_ERROR


def _retry_headers(retry_after_s: int) -> dict[str, str]:
    return {"retry-after": str(retry_after_s), "x-should-retry": "true"}


def _reply_for_http(error: HTTPException) -> ErrorReply:
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.NOT_FOUND:
        return ErrorReply(404, "There is no such URL on this server.", "unknown_url")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = headers.get("Allow", "another method")
        message = f"This URL does not accept that method; it accepts {allowed}."
        return ErrorReply(405, message, "method_not_allowed", headers=headers)
    return ErrorReply(error.status_code, str(error.detail), "http_error", headers=headers)
