"""Raw sockets: heads without end, heads too large, and too many connections."""

import contextlib
import http.client
import json
import socket
from urllib.parse import urlsplit

import pytest

from pagelet_engine.server import connections
from pagelet_engine.server.connections import MAX_HEAD_BYTES, MAX_HEADERS, is_head_too_large
from pagelet_engine.server.errors import CODES
from server_client import request
from server_process import echo_server

OK = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n"


@pytest.fixture(scope="module")
def url():
    with echo_server() as server:
        yield server.wait_ready()


def connect(url):
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=30)


def status_of(answer):
    return int(answer.split(b" ", 2)[1]) if answer else None


def told(url, head):
    """Send a head, possibly without end, and return the status of the answer."""
    with connect(url) as wire:
        try:
            wire.sendall(head)
            return status_of(wire.recv(4096))
        except (ConnectionResetError, BrokenPipeError):
            return None  # refused while we were still sending


def test_a_head_without_end_is_refused_before_it_fills_the_memory(url):
    for head in (OK + b"x: " + b"a" * 2**20, b"GET /" + b"a" * 2**20, OK + b"a: b\r\n" * 2**18):
        assert told(url, head) in (431, 400, None)
        assert request(url, "GET", "/livez").status == 200


def test_a_head_that_is_complete_but_too_large_is_an_error_object(url):
    for headers in ({"x": "a" * MAX_HEAD_BYTES}, {f"x{n}": "a" for n in range(MAX_HEADERS)}):
        reply = request(url, "GET", "/livez", headers=headers)
        assert (reply.status, reply.json["error"]["code"]) == (431, "headers_too_large")
    many = {f"x{n}": "a" for n in range(MAX_HEADERS - 10)}
    assert request(url, "GET", "/livez", headers=many).status == 200


def test_what_is_too_large_is_counted_in_bytes_and_fields():
    assert not is_head_too_large([(b"a", b"b" * (MAX_HEAD_BYTES - 2))], b"/")
    assert is_head_too_large([(b"a", b"b" * (MAX_HEAD_BYTES - 1))], b"/")
    assert not is_head_too_large([(b"", b"")] * MAX_HEADERS, b"")
    assert is_head_too_large([(b"", b"")] * (MAX_HEADERS + 1), b"")


def head_of(num_fields=0, value=b"a"):
    return OK + b"".join(b"x%d: %s\r\n" % (n, value) for n in range(num_fields)) + b"\r\n"


def test_the_limits_on_heads_hold_on_the_wire_to_the_byte(url):
    """`host` is one field; path, names and values count, what separates them does not."""
    assert told(url, head_of(MAX_HEADERS - 1)) == 200
    assert told(url, head_of(MAX_HEADERS)) == 431
    room = MAX_HEAD_BYTES - len("/livezhostlocalhostx0")
    assert told(url, head_of(1, b"a" * (room - 100))) == 200  # the wire has separators, too
    assert told(url, head_of(1, b"a" * (room + 1))) == 431
    assert told(url, b"GET /" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\n\r\n") == 431
    assert told(url, OK + b"a" * MAX_HEAD_BYTES + b": b\r\n\r\n") == 431


CHUNKED = (
    b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


def is_cut_off(wire, piece):
    """Whether the server closes a connection on which `piece` comes 20,000 times."""
    try:
        for _ in range(20_000):
            wire.sendall(piece)
    except (ConnectionResetError, BrokenPipeError):
        return True
    return False


@pytest.mark.parametrize(
    "piece", [b"a: b\r\n" * 1000, b"a" * 6000], ids=["many trailers", "one trailer"]
)
def test_trailers_without_end_are_refused_before_they_fill_the_memory(url, piece):
    with connect(url) as wire:
        wire.sendall(CHUNKED + b"1\r\n{\r\n0\r\n")
        assert is_cut_off(wire, piece)
    assert request(url, "GET", "/livez").status == 200


def test_an_extension_of_a_chunk_without_end_is_refused(url):
    with connect(url) as wire:
        wire.sendall(CHUNKED + b"1;a=")
        assert is_cut_off(wire, b"a" * 6000)
    assert request(url, "GET", "/livez").status == 200


def test_a_body_in_single_bytes_with_trailers_is_read(url):
    body = b'{"model":"echo","prompt":"' + b"a" * 9000 + b'","max_tokens":1}'
    chunks = b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in body)
    with connect(url) as wire:
        wire.sendall(CHUNKED + chunks + b"0\r\nauthorization: Bearer x\r\n\r\n")
        assert status_of(wire.recv(4096)) in (200, 400)  # echoed, or too long for its context
    assert request(url, "GET", "/livez").status == 200


def test_several_requests_on_one_connection_are_counted_apart(url):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    for _ in range(5):
        connection.request("GET", "/livez", headers={"x": "a" * (MAX_HEAD_BYTES // 3)})
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b'{"status":"ok"}')
    connection.close()


@pytest.mark.parametrize(
    "head",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /livez HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /livez HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\nhello",
        b"POST /livez HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /livez HTTP/1.1\r\nhost: a\r\n folded: b\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nbad name: b\r\n\r\n",
    ],
)
def test_what_two_parsers_could_read_differently_is_refused(url, head):
    assert told(url, head) in (400, 404, 405)
    assert request(url, "GET", "/livez").status == 200


def all_of(wire):
    """Return all there is until the other end closes."""
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while part := wire.recv(65536):
            answer += part
    return answer


def parsed(answer):
    """Return the status, headers and JSON body of the one response that `answer` is."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:]]
    headers = {name.lower(): value for name, value in lines}
    assert len(body) == int(headers["content-length"])
    return status_of(answer), headers, json.loads(body)


POST = b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nx-request-id: mine-1\r\n"


@pytest.mark.parametrize(
    ("framing", "status", "code"),
    [
        (b"content-length: 1\r\ncontent-length: 2\r\n\r\n", 400, "invalid_http"),
        (b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}", 400, "invalid_http"),
        (b"content-length: -1\r\n\r\n", 400, "invalid_http"),
        (b"transfer-encoding: chunked\r\n\r\nzz\r\n", 400, "invalid_http"),
        (b"bad name: b\r\n\r\n", 400, "invalid_http"),
        (b"x: " + b"a" * 2 * MAX_HEAD_BYTES, 431, "headers_too_large"),
    ],
    ids=["two lengths", "both", "negative", "a bad chunk", "a bad name", "too large"],
)
def test_bad_framing_is_answered_with_an_error_object_and_an_end(url, framing, status, code):
    with connect(url) as wire:
        wire.sendall(POST + framing)
        told_status, headers, body = parsed(all_of(wire))
    assert (told_status, body["error"]["code"]) == (status, code)
    assert body["error"]["type"] == "invalid_request_error"
    assert body["error"]["code"] in CODES
    assert headers["content-type"] == "application/json"
    assert headers["connection"] == "close"
    assert headers["x-request-id"]


def test_a_refusal_of_bad_framing_repeats_the_clients_id_and_no_harmful_one(url):
    for given, kept in ((b"mine-1", True), (b"a b", False), (b"a" * 100, False)):
        with connect(url) as wire:
            wire.sendall(POST.replace(b"mine-1", given) + b"content-length: -1\r\n\r\n")
            _, headers, _ = parsed(all_of(wire))
        assert (headers["x-request-id"] == given.decode()) is kept


CAPPED = """
import json, sys
from pagelet_engine.config import EngineConfig, ServerConfig
from pagelet_engine.server import connections
connections.MAX_CONNECTIONS, connections.HEAD_TIMEOUT_S = 8, 1.0
from pagelet_engine.server.run import serve
model, listen, command = json.loads(sys.argv[1])
raise SystemExit(serve(EngineConfig(**model), ServerConfig(**listen), command))
"""


@pytest.fixture
def capped(monkeypatch):
    """A server that allows 8 connections and a second for a head."""
    monkeypatch.setattr("server_process.ECHO_SERVER", CAPPED)
    with echo_server() as server:
        yield server.wait_ready()


def test_idle_connections_make_room_for_those_that_ask(capped):
    idle = [connect(capped) for _ in range(30)]
    try:
        for _ in range(5):
            assert request(capped, "GET", "/livez").status == 200
        answers = [wire.recv(100) for wire in idle]
        assert all(status_of(answer) in (None, 503) for answer in answers)
    finally:
        for wire in idle:
            wire.close()


def test_a_head_that_trickles_is_cut_off(capped):
    with connect(capped) as wire:
        wire.sendall(OK)
        assert status_of(wire.recv(4096)) == 408
        assert wire.recv(1) == b""


@pytest.mark.parametrize("pause", [False, True], ids=["at once", "while the answer is on its way"])
@pytest.mark.parametrize("num_before", [1, 2])
def test_a_refusal_is_never_taken_for_the_answer_to_an_earlier_request(
    unhurried, num_before, pause
):
    """Requests in one write, garbage behind them: no status line but those that are owed."""
    with connect(unhurried) as wire:
        wire.sendall(STREAMING * num_before + (b"" if pause else GARBAGE))
        answer = wire.recv(65536) if pause else b""
        if pause:
            wire.sendall(GARBAGE)
        answer += all_of(wire)
    assert b"HTTP/1.1 4" not in answer
    assert answer.count(b"HTTP/1.1 200") == pause
    assert b"invalid_http" not in answer
    assert b"[DONE]" not in answer
    assert request(unhurried, "GET", "/livez").status == 200


def test_what_comes_behind_a_complete_answer_is_refused_in_its_own_turn(url):
    with connect(url) as wire:
        wire.sendall(OK + b"\r\n")
        assert status_of(wire.recv(4096)) == 200
        wire.sendall(GARBAGE)
        assert parsed(all_of(wire))[0] == 400


GARBAGE = b"\x00\x01 garbage\r\n\r\n"
ASK = b'{"model":"echo","prompt":"a b c d","max_tokens":40,"stream":true}'
STREAMING = (
    b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n" % len(ASK)
) + ASK


@pytest.fixture
def unhurried(monkeypatch):
    """A server that takes two seconds for an answer and allows one for a head."""
    monkeypatch.setattr("server_process.ECHO_SERVER", CAPPED)
    with echo_server("--step-seconds", "0.05") as server:
        yield server.wait_ready()


@pytest.mark.parametrize(
    ("early", "ends_well"),
    [
        (OK + b"x: " + b"a" * 2 * MAX_HEAD_BYTES, False),
        (b"\x00\x01 garbage\r\n\r\n", False),
        (b"\r\n", True),
        (OK, True),
    ],
    ids=["a head without end", "garbage", "an empty line", "half a head"],
)
def test_what_comes_during_an_answer_does_not_get_into_it(unhurried, early, ends_well):
    with connect(unhurried) as wire:
        wire.sendall(STREAMING)
        answer = wire.recv(65536)
        wire.sendall(early)
        with contextlib.suppress(ConnectionResetError):
            while not answer.endswith(b"0\r\n\r\n") and (part := wire.recv(65536)):
                answer += part
    assert answer.count(b"HTTP/1.1 ") == 1
    assert (b"[DONE]" in answer) is ends_well


def test_descriptors_bound_the_connections(monkeypatch):
    monkeypatch.setattr(connections.resource, "getrlimit", lambda _: (256, 256))
    assert connections.max_connections() == 192
    monkeypatch.setattr(connections.resource, "getrlimit", lambda _: (10**6, 10**6))
    assert connections.max_connections() == connections.MAX_CONNECTIONS
