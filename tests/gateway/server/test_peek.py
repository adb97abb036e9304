import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.errors import RequestError
from pagelet_gateway.server.peek import peek


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (b'{"model":"m"}', ("m", None)),
        (b'{"messages":[{"model":"x"}],"model":"m","user":"u"}', ("m", "u")),
        (b'{"model":"a","model":"b"}', ("b", None)),
        (b'{"model":"m","user":""}', ("m", None)),
        (b'{"model":"m","user":7}', ("m", None)),
        (b' {"model":"\\u00e9"}\n', ("é", None)),
    ],
)
def test_model_and_user_are_read_wherever_they_stand(body, seen):
    assert peek(body) == seen


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"", "invalid_json", None),
        (b"{", "invalid_json", None),
        (b'{"model":"m"}x', "invalid_json", None),
        (b'{"model":"m",}', "invalid_json", None),
        (b"[]", "invalid_json", None),
        (b'"m"', "invalid_json", None),
        (b"null", "invalid_json", None),
        (b'{"x":' + b"[" * 200_000, "invalid_json", None),
        (b'{"model":"\xff"}', "invalid_json", None),
        (b"{}", "missing_required_parameter", "model"),
        (b'{"model":null}', "missing_required_parameter", "model"),
        (b'{"model":7}', "invalid_type", "model"),
        (b'{"model":["m"]}', "invalid_type", "model"),
    ],
)
def test_what_cannot_be_routed_is_refused_with_code_and_field(body, code, param):
    with pytest.raises(RequestError) as refusal:
        peek(body)
    assert (refusal.value.status, refusal.value.code, refusal.value.param) == (400, code, param)


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_body_is_read_or_refused(body):
    try:
        peek(body)
    except RequestError:
        return


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_any_name_is_read_as_it_was_written(name):
    assert peek(json.dumps({"model": name}).encode()) == (name, None)
