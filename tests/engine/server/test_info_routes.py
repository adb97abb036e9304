"""What routes that only show say to GET, to HEAD, and to a browser that asks first."""

import pytest

from pagelet_engine.server.access import POLICIES
from server_client import request
from server_process import echo_server

POSTED = {"/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize"}
SHOWN = sorted(path.replace("{name:path}", "echo") for path in set(POLICIES) - POSTED)


@pytest.fixture(scope="module")
def url():
    with echo_server("--step-seconds", "0") as server:
        yield server.wait_ready()


@pytest.mark.parametrize("path", SHOWN)
def test_head_is_answered_like_get_without_a_body(url, path):
    shown, head = request(url, "GET", path), request(url, "HEAD", path)
    assert (head.status, head.body) == (shown.status, b"")
    assert head.status == 200
    assert head.headers["content-type"] == shown.headers["content-type"]
    if path != "/metrics":  # they move between two looks
        assert head.headers["content-length"] == str(len(shown.body))


def test_head_of_a_model_that_is_not_there_is_the_404_of_get(url):
    head = request(url, "HEAD", "/v1/models/other")
    assert (head.status, head.body) == (404, b"")


@pytest.mark.parametrize("path", sorted(POSTED))
@pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "GET"])
def test_a_route_that_takes_posts_says_so_to_other_methods(url, path, method):
    reply = request(url, method, path)
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    if method != "HEAD":
        assert reply.json["error"]["code"] == "method_not_allowed"


def test_a_browser_that_asks_first_gets_no_leave_from_any_route(url):
    for path in SHOWN:
        asked = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "GET"}
        reply = request(url, "OPTIONS", path, headers=asked)
        assert reply.status == 405
        assert set(reply.headers["allow"].split(", ")) == {"GET", "HEAD"}
        assert not [name for name in reply.headers if name.startswith("access-control-")]
