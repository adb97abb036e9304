"""Everything pagelet_gateway raises on purpose, split by who can mend it.

    GatewayError
    ├── ConfigError              whoever starts the gateway; exit code 2
    ├── RequestError             the client; HTTP 4xx, never logged above INFO
    │   ├── BodyTooLargeError        413 body_too_large
    │   ├── BodyTimeoutError         408 body_timeout
    │   ├── UnsupportedEncodingError 415 unsupported_encoding
    │   ├── MissingKeyError          401 missing_api_key
    │   ├── InvalidKeyError          401 invalid_api_key
    │   ├── OutputCapError           400 output_cap_exceeded
    │   ├── PromptCapError           400 prompt_too_long
    │   ├── UnknownModelError        404 model_not_found
    │   ├── UnknownRevisionError     404 revision_not_found
    │   ├── RevisionDeniedError      403 revision_not_allowed
    │   ├── UnknownRouteError        404 unknown_url
    │   └── MethodError              405 method_not_allowed
    └── ServingError             nobody is wrong, or an engine is
        ├── QuotaError               429 with Retry-After
        ├── UnavailableError         503 with Retry-After
        ├── BadUpstreamError         502 bad_upstream
        ├── FallbackLoopError        508 fallback_loop
        └── UpstreamTimeoutError     504 upstream_timeout

`core.route_table.RouteTableError` stands apart: the writer of the table mends it, and the last
good table serves on. Anything else that escapes is a bug: HTTP 500, traceback in the log.
"""


class GatewayError(Exception):
    """Base of all errors this package raises on purpose."""


class ConfigError(GatewayError):
    """The gateway cannot start as configured; the message says what to change."""


class RefusalError(GatewayError):
    """An answer to the client that is an OpenAI error object.

    Attributes:
        status: HTTP status.
        code: String error code; also the label of `pagelet_gateway_rejected_total`.
        kind: The error object's `type`.
        param: The request field at fault, or None.
        retry_after_s: Whole seconds for Retry-After, or None when a retry cannot help.
    """

    status = 500
    code = "internal_error"
    kind = "server_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code or self.code
        self.param = param
        self.retry_after_s = retry_after_s


class RequestError(RefusalError):
    """A request that can never succeed as sent."""

    status = 400
    code = "invalid_value"
    kind = "invalid_request_error"


class BodyTooLargeError(RequestError):
    """The body exceeds the cap; nothing of it was parsed."""

    status = 413
    code = "body_too_large"


class BodyTimeoutError(RequestError):
    """The body did not arrive in time."""

    status = 408
    code = "body_timeout"


class UnsupportedEncodingError(RequestError):
    """The body is compressed."""

    status = 415
    code = "unsupported_encoding"


class MissingKeyError(RequestError):
    """What is asked for is not open to everybody, and the request brings no key."""

    status = 401
    code = "missing_api_key"
    kind = "authentication_error"


class InvalidKeyError(RequestError):
    """The key is nobody's, or no longer."""

    status = 401
    code = "invalid_api_key"
    kind = "authentication_error"


class OutputCapError(RequestError):
    """The request asks for more output than one request may have."""

    code = "output_cap_exceeded"


class PromptCapError(RequestError):
    """The prompt has more tokens than one request may have."""

    code = "prompt_too_long"


class UnknownModelError(RequestError):
    """The request names a model that has no route here."""

    status = 404
    code = "model_not_found"


class UnknownRevisionError(RequestError):
    """A tester names a revision that the model does not have."""

    status = 404
    code = "revision_not_found"


class RevisionDeniedError(RequestError):
    """The request names a revision, and its client may not choose one."""

    status = 403
    code = "revision_not_allowed"


class UnknownRouteError(RequestError):
    """No policy allows this path."""

    status = 404
    code = "unknown_url"


class MethodError(RequestError):
    """The path exists, the method does not."""

    status = 405
    code = "method_not_allowed"


class ServingError(RefusalError):
    """The request is sound and could not be served."""


class QuotaError(ServingError):
    """A quota has nothing left; the code says of what."""

    status = 429
    code = "rate_limit_exceeded"
    kind = "rate_limit_error"


class UnavailableError(ServingError):
    """No endpoint can take the request now."""

    status = 503
    code = "no_capacity"


class BadUpstreamError(ServingError):
    """An engine answered something that is not HTTP."""

    status = 502
    code = "bad_upstream"


class FallbackLoopError(ServingError):
    """The request came back to where it has been, over several gateways."""

    status = 508
    code = "fallback_loop"


class UpstreamTimeoutError(ServingError):
    """The request's time was up before the first byte of an answer."""

    status = 504
    code = "upstream_timeout"
