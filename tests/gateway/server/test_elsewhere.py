import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.fallback import Link
from pagelet_gateway.core.route_table import Fallback
from pagelet_gateway.errors import RequestError
from pagelet_gateway.server.elsewhere import (
    answer_headers,
    headers_for,
    mark,
    url_of,
    with_model,
)

API = Fallback(url="https://host/base/v1", url_model="big", api_key="sk-1")

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=5), st.text(min_size=1))
def test_only_the_model_changes(fields, name):
    body = json.dumps(fields | {"model": "old"}).encode()
    assert json.loads(with_model(body, name)) == fields | {"model": name}


def test_numbers_keep_their_digits_and_of_two_models_none_is_left():
    body = (
        b'{"temperature": 1.10, "seed": 123456789012345678901234567890, "model": "a", "model": "b"}'
    )
    sent = with_model(body, "c")
    assert b"1.10" in sent
    assert b"123456789012345678901234567890" in sent
    assert sent.count(b"model") == 1


@pytest.mark.parametrize("body", [b'{"\xff": 1}', b"[]", b"{"])
def test_a_body_that_is_no_object_is_the_clients_to_mend(body):
    with pytest.raises(RequestError):
        with_model(body, "m")


@pytest.mark.parametrize(
    ("fields", "is_chat", "expected"),
    [
        ({}, True, {"max_completion_tokens": 9}),
        ({}, False, {"max_tokens": 9}),
        ({"max_tokens": 99}, True, {"max_tokens": 9}),
        ({"max_completion_tokens": 99}, False, {"max_completion_tokens": 9}),
        (
            {"max_completion_tokens": 1, "max_tokens": 99},
            False,
            {"max_completion_tokens": 9, "max_tokens": 9},
        ),
    ],
)
def test_a_cap_is_written_into_the_field_the_client_used(fields, is_chat, expected):
    body = json.dumps(fields | {"model": "m"}).encode()
    sent = json.loads(with_model(body, "m", output_limit=9, is_chat=is_chat))
    assert sent == expected | {"model": "m"}


def test_paths_lie_below_the_base_and_only_openais_own_do():
    assert url_of(API, "/v1/chat/completions") == "https://host/base/v1/chat/completions"
    assert url_of(API, "/tokenize") is None


def test_only_the_request_itself_leaves_with_the_apis_own_key():
    client = {b"authorization": b"Bearer us", b"x-pagelet-tenant": b"t", b"accept": b"text/plain"}
    assert headers_for(API, client | {b"traceparent": b"1"}, num_hops=2) == {
        "content-type": "application/json",
        "user-agent": "pagelet",
        "accept": "text/plain",
        "authorization": "Bearer sk-1",
        "x-pagelet-hops": "2",
    }
    keyless = Fallback(url="https://host/v1", url_model="big")
    assert "authorization" not in headers_for(keyless, client, num_hops=1)


def test_of_the_answers_headers_only_the_contents_pass():
    raw = [(b"Content-Type", b"a"), (b"Set-Cookie", b"b"), (b"Content-Length", b"3"), (b"X-A", b"")]
    assert answer_headers(raw) == [(b"content-type", b"a"), (b"content-length", b"3")]
    assert answer_headers([*raw, (b"Transfer-Encoding", b"chunked")]) == [(b"content-type", b"a")]


def test_a_name_cannot_break_out_of_its_header():
    assert mark(Link("big\r\nx: y\u00e9")) == (b"x-pagelet-fallback", b"big??x: y?")
