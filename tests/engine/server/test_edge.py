"""The outermost layer: ids on everything, bugs as objects."""

import json
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from pagelet_engine.server.app import build_routes
from pagelet_engine.server.edge import Edge
from pagelet_engine.server.errors import INTERNAL_ERROR


async def call(app, headers=(), **changes):
    """Call `Edge(app)` and return what it sent."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.disconnect"}

    scope = {"type": "http", "path": "/x", "method": "GET", "headers": list(headers)}
    scope |= changes.get("scope", {})
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


async def test_a_bug_after_a_whole_response_is_logged_once_and_told_nobody():
    async def buggy(scope, receive, send):
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body", "body": b"y"})
        raise KeyError

    with capture_logs() as logs:
        sent = await call(buggy)
    assert len(sent) == 3
    assert [log["event"] for log in logs] == ["bug"]


async def test_a_bug_in_a_route_is_the_same_object():
    routes = build_routes(SimpleNamespace(created=0, model_name=None, loaded=None, metrics=None))
    scope = {"type": "http", "method": "GET", "path": "/readyz", "query_string": b""}
    with capture_logs() as logs:
        start, body = await call(routes, scope=scope)  # there is no lifecycle to ask
    assert start["status"] == 500
    assert body["body"] == INTERNAL_ERROR.body()
    assert [log["event"] for log in logs] == ["bug"]


async def test_other_protocols_pass_untouched():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope)

    await Edge(app)({"type": "lifespan"}, None, None)
    assert seen == [{"type": "lifespan"}]
