"""What really comes over a socket becomes an exchange, whatever it is; no key is ever in one."""

import json

import pytest

from bench_server import DONE, Script, ScriptedServer, token
from pagelet_bench.check.wire import Wire
from pagelet_bench.core.check.exchange import Request

KEY = "sk-not-to-be-shown"
POST = Request(path="/v1/completions", body={"prompt": [1], "max_tokens": 1})
JSON = "application/json"


async def exchanged(*scripts, request=POST, timeout_s=5.0, times=1):
    """Send `request`, `times` in a row, to a server that answers by `scripts`; the last repeats."""
    waiting = list(scripts)

    def respond(_):
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    async with (
        ScriptedServer(respond).listening() as server,
        Wire(server.url, KEY, timeout_s=timeout_s) as wire,
    ):
        found = [await wire.send(request) for _ in range(times)]
        return found, server


async def test_an_answer_is_kept_with_status_headers_and_text():
    (found,), server = await exchanged(Script([b'{"a": 1}'], content_type=JSON))
    assert (found.status, found.text, found.failure) == (200, '{"a": 1}', "")
    assert found.headers["content-type"] == JSON
    assert server.bodies == [POST.body]


async def test_a_stream_is_kept_event_by_event_whatever_the_chunks():
    whole = token("a") + token("b", "stop") + DONE
    (found,), _ = await exchanged(Script([whole[:9], whole[9:40], whole[40:]]))
    assert found.events[-1] == "[DONE]"
    assert [json.loads(data)["choices"][0]["text"] for data in found.events[:-1]] == ["a", "b"]


async def test_a_stream_that_is_left_is_no_failure():
    steps = [token("a"), token("b"), 600.0]
    (found,), _ = await exchanged(
        Script(steps), request=Request(path=POST.path, body=POST.body, leave_after=2)
    )
    assert (len(found.events), found.failure) == (2, "")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (Script([600.0]), "no complete answer within 0.5 s"),
        (Script([token("a"), 600.0]), "no complete answer within 0.5 s"),
        (Script([token("a")], breaks=True), "broke in the middle of the answer"),
        (Script([b"\xff\xfe"], content_type=JSON), "cannot be read"),
        (Script([b" " * (4 * 2**20 + 1)], content_type=JSON), "exceeds 4194304 bytes"),
    ],
)
async def test_what_goes_wrong_is_a_sentence_in_the_exchange(script, said):
    (found,), _ = await exchanged(script, timeout_s=0.5 if 600.0 in script.steps else 10.0)
    assert said in found.failure
    assert found.status == 200


async def test_a_busy_endpoint_is_asked_three_times_in_all():
    (found,), server = await exchanged(Script([b"later"], status=503, content_type=JSON))
    assert len(server.bodies) == 3
    assert found.status == 503


async def test_an_endpoint_that_was_busy_gives_its_answer():
    busy, done = Script([b""], status=429, content_type=JSON), Script([b"{}"], content_type=JSON)
    (found,), server = await exchanged(busy, done)
    assert (found.status, len(server.bodies)) == (200, 2)


async def test_a_key_that_a_server_sends_back_is_not_kept():
    shown = json.dumps({"error": {"message": f"{KEY} is wrong"}}).encode()
    (found,), _ = await exchanged(Script([shown], status=401, content_type=JSON))
    assert KEY not in repr(found)
    assert "*** is wrong" in found.text
    (found,), _ = await exchanged(Script([token(KEY), DONE]))
    assert KEY not in repr(found)


async def test_a_second_request_goes_over_the_first_ones_connection():
    found, _ = await exchanged(Script([b"{}"], content_type=JSON), times=2)
    assert [exchange.is_reused for exchange in found] == [False, True]


async def test_a_request_brings_the_key_or_one_that_cannot_be_right():
    done = Script([b"{}"], content_type=JSON)
    _, server = await exchanged(done)
    assert f"Authorization: Bearer {KEY}\r\n" in server.headers[0]
    wrong = Request(path=POST.path, body=POST.body, wrong_key=True, headers={"X-Note": "a"})
    _, server = await exchanged(done, request=wrong)
    assert KEY not in server.headers[0]
    assert "Authorization: Bearer " in server.headers[0]
    assert "X-Note: a\r\n" in server.headers[0]


async def test_a_redirect_is_shown_and_not_followed():
    (found,), server = await exchanged(
        Script([b""], status=302, content_type=JSON, location="/elsewhere")
    )
    assert found.status == 302
    assert len(server.bodies) == 1
