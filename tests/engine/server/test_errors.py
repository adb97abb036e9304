"""Every error becomes OpenAI's object with a known code."""

import json

import pytest
from starlette.exceptions import HTTPException

from pagelet_engine.errors import (
    ContextLengthError,
    EngineDeadError,
    GenerationError,
    InvalidRequestError,
    UnavailableError,
    UnknownModelError,
)
from pagelet_engine.server.errors import CODES, BadRequestError, RefusedError, reply_for

CASES = [
    (InvalidRequestError("m", param="p"), 400, "invalid_value", "invalid_request_error"),
    (ContextLengthError("m"), 400, "context_length_exceeded", "invalid_request_error"),
    (UnknownModelError("m"), 404, "model_not_found", "invalid_request_error"),
    (BadRequestError("m", code="invalid_json"), 400, "invalid_json", "invalid_request_error"),
    (
        RefusedError("m", status=429, code="rate_limit_exceeded"),
        429,
        "rate_limit_exceeded",
        "rate_limit_error",
    ),
    (UnavailableError("m"), 503, "service_unavailable", "server_error"),
    (EngineDeadError("m"), 503, "service_unavailable", "server_error"),
    (GenerationError("m"), 500, "generation_failed", "server_error"),
    (HTTPException(404), 404, "unknown_url", "invalid_request_error"),
    (HTTPException(405), 405, "method_not_allowed", "invalid_request_error"),
    (HTTPException(400, "x"), 400, "http_error", "invalid_request_error"),
    (KeyError("m"), 500, "internal_error", "server_error"),
]


@pytest.mark.parametrize(("error", "status", "code", "kind"), CASES)
def test_an_error_has_its_status_code_and_type(error, status, code, kind):
    reply = reply_for(error)
    assert reply.status == status
    body = json.loads(reply.body())["error"]
    assert set(body) == {"message", "type", "param", "code"}
    assert (body["code"], body["type"]) == (code, kind)
    assert code in CODES


def test_only_what_can_succeed_later_invites_a_retry():
    for error, status, *_ in CASES:
        invites = reply_for(error).headers.get("x-should-retry") == "true"
        assert invites == (status in (429, 503))
        assert ("retry-after" in reply_for(error).headers) == invites


def test_a_bugs_text_stays_here():
    assert "secret" not in reply_for(RuntimeError("secret")).message
