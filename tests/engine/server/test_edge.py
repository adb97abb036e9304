"""The outermost layer: ids on everything, bugs as objects."""

import json

import pytest
from structlog.testing import capture_logs

from pagelet_engine.server.edge import Edge


async def call(app, headers=()):
    """Call `Edge(app)` and return what it sent."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.disconnect"}

    scope = {"type": "http", "path": "/x", "method": "GET", "headers": list(headers)}
    await Edge(app)(scope, receive, send)
    return sent


async def test_a_bug_is_a_500_object_that_tells_nothing_and_a_traceback_in_the_log():
    async def buggy(scope, receive, send):
        raise KeyError("secret path /etc/x")

    with capture_logs() as logs:
        start, body = await call(buggy)
    error = json.loads(body["body"])["error"]
    assert (start["status"], error["code"], error["type"]) == (
        500,
        "internal_error",
        "server_error",
    )
    assert "secret" not in error["message"]
    headers = dict(start["headers"])
    assert headers[b"x-should-retry"] == b"false"
    assert headers[b"x-request-id"].decode() == logs[0]["request_id"]
    assert logs[0]["exc_info"]


async def test_a_bug_within_a_response_breaks_the_connection():
    async def buggy(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeyError

    with capture_logs(), pytest.raises(KeyError):
        await call(buggy)


async def test_other_protocols_pass_untouched():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope)

    await Edge(app)({"type": "lifespan"}, None, None)
    assert seen == [{"type": "lifespan"}]
