"""Large bodies: what they may hold, and that nobody waits for them."""

import http.client
import json
import threading
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_engine.server.access import POLICIES
from pagelet_engine.server.body import (
    LARGE_BODY_ROUTES,
    MAX_COMMAS,
    MAX_CONTAINERS,
    SMALL_BODY_BYTES,
    _parse,
    body_limit,
)
from pagelet_engine.server.errors import BadRequestError
from server_client import request
from server_process import echo_server
from server_stall import computed_s

TEXT = "/v1/completions"
MOST_LAG_S = 2.0
"""What the API process may compute while somebody waits; a body of brackets used to take 0.6 s."""


@pytest.fixture(scope="module")
def server():
    with echo_server() as server:
        server.wait_ready()
        yield server


@pytest.fixture(scope="module")
def url(server):
    return server.url


def raw(middle):
    return b'{"model":"echo","prompt":' + middle + b"}"


@pytest.mark.parametrize(
    ("middle", "status"),
    [
        (b"[" + b"[]," * MAX_CONTAINERS + b"[]]", 413),
        (b"[" + b"{}," * MAX_CONTAINERS + b"{}]", 413),
        (b"[" + b"1," * (MAX_COMMAS + 1) + b"1]", 413),
        (b'"' + b"[" * (MAX_CONTAINERS + 1) + b'"', 413),
        (b"[" + b"[]," * (MAX_CONTAINERS - 10) + b"[]]", 400),
        (b"[" + b"1," * (MAX_COMMAS - 10) + b"1]", 400),
    ],
)
def test_a_body_that_would_become_too_many_objects_is_refused_unparsed(url, middle, status):
    reply = request(url, "POST", TEXT, raw=raw(middle))
    assert reply.status == status
    assert (reply.json["error"]["code"] == "request_too_large") is (status == 413)


def written(value):
    """JSON in a spelling of its own: escapes where none are needed, white space everywhere."""
    if isinstance(value, dict):
        pairs = [f"{written(key)} \n:\t{written(each)}" for key, each in value.items()]
        return "{ " + " , ".join(pairs) + " }"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "\r\n]"
    if isinstance(value, str):
        return json.dumps(value).replace(":", "\\u003a") if len(value) % 2 else json.dumps(value)
    return json.dumps(value)


awkward = st.text(alphabet='a":\\{}[], \n', max_size=6)
documents = st.recursive(
    st.none() | st.integers(-(2**63), 2**63) | awkward,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(awkward, inner, max_size=4),
)


@given(documents)
def test_whatever_names_each_key_once_is_read_as_it_is(document):
    assert _parse(written(document).encode()) == document


@given(documents, awkward, documents, documents, st.integers(0, 2))
def test_a_key_named_twice_is_found_at_any_depth(inner, key, one, other, depth):
    text = f"{{{written(key)}:{written(one)}, {json.dumps(key)} : {written(other)}}}"
    for _ in range(depth):
        text = f'{{"a":[{written(inner)},{text}]}}'
    with pytest.raises(BadRequestError, match="names a key twice"):
        _parse(text.encode())


@pytest.mark.parametrize("padding", [0, 100_000])
def test_a_parameter_given_twice_is_refused_in_bodies_of_any_size(url, padding):
    twice = b'{"model":"echo","prompt":"a","n":2,"n":1,"user":"' + b"a" * padding + b'"}'
    reply = request(url, "POST", TEXT, raw=twice)
    assert (reply.status, reply.json["error"]["code"]) == (400, "invalid_json")
    assert "twice" in reply.json["error"]["message"]
    assert request(url, "POST", TEXT, raw=twice.replace(b'"n":2,', b"")).status == 200


LARGE = {
    "brackets": raw(b"[" + b"[]," * 2_700_000 + b"[]]"),
    "as many brackets as allowed": raw(b"[" + b"[]," * (MAX_CONTAINERS - 10) + b"[]]"),
    "numbers": raw(b"[" + b"1," * (MAX_COMMAS - 10) + b"1]"),
    "text": raw(b'"' + b"a" * 8_000_000 + b'"'),
    "escapes": raw(b'"' + b"\\u0041" * 1_300_000 + b'"'),
    "messages": json.dumps({"messages": [{"role": "user", "content": ""}] * 100_000}).encode(),
    "keys": json.dumps({f"k{n}": n for n in range(400_000)}).encode(),
}


@pytest.mark.parametrize("kind", LARGE)
def test_nobody_waits_for_a_large_body(server, url, kind):
    sender = threading.Thread(target=request, args=(url, "POST", TEXT), kwargs={"raw": LARGE[kind]})
    sender.start()
    worst_s = 0.0
    while sender.is_alive():
        before_s = computed_s([server.process.pid])
        assert request(url, "GET", "/livez").status == 200
        worst_s = max(worst_s, computed_s([server.process.pid]) - before_s)
    sender.join()
    assert worst_s < MOST_LAG_S


def test_only_routes_that_generate_take_large_bodies():
    large = {path for path in POLICIES if body_limit(path, 10**9) > SMALL_BODY_BYTES}
    assert large == LARGE_BODY_ROUTES
    assert {body_limit(path, 7) for path in (*POLICIES, "/new")} == {7}


@pytest.mark.parametrize(("path", "field"), [("/tokenize", "prompt"), ("/detokenize", "tokens")])
def test_a_route_that_generates_nothing_reads_a_small_body_only(url, path, field):
    padding = b" " * SMALL_BODY_BYTES
    reply = request(url, "POST", path, raw=b'{"%s":"a"}' % field.encode() + padding)
    assert (reply.status, reply.json["error"]["code"]) == (413, "request_too_large")
    assert str(SMALL_BODY_BYTES) in reply.json["error"]["message"]


def test_a_body_in_pieces_is_refused_at_the_limit_of_its_route(url):
    def pieces():
        for _ in range(64):
            yield b" " * (SMALL_BODY_BYTES // 8)

    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request("POST", "/tokenize", pieces(), {"content-type": "application/json"})
        assert connection.getresponse().status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass  # refused while we were still sending
    finally:
        connection.close()
    assert request(url, "GET", "/livez").status == 200
