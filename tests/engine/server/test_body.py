"""Large bodies: what they may hold, and that nobody waits for them."""

import json
import threading
import time

import pytest

from pagelet_engine.server.body import MAX_COMMAS, MAX_CONTAINERS
from server_client import request
from server_process import echo_server

TEXT = "/v1/completions"
MOST_LAG_S = 3.0
"""Generous: the machine may be busy. One body of brackets alone used to take 0.6 s."""


@pytest.fixture(scope="module")
def url():
    with echo_server() as server:
        yield server.wait_ready()


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
def test_nobody_waits_for_a_large_body(url, kind):
    sender = threading.Thread(target=request, args=(url, "POST", TEXT), kwargs={"raw": LARGE[kind]})
    sender.start()
    worst_s = 0.0
    while sender.is_alive():
        began = time.monotonic()
        assert request(url, "GET", "/livez").status == 200
        worst_s = max(worst_s, time.monotonic() - began)
    sender.join()
    print(f"{kind}: {worst_s * 1000:.0f} ms")
    assert worst_s < MOST_LAG_S
