import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.errors import RequestError
from pagelet_gateway.server.peek import PREFIX_BYTES, opening, peek


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
    found = peek(body)
    assert (found.model, found.user) == seen


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
        found = peek(body)
    except RequestError as refusal:
        assert refusal.status == 400  # noqa: PT017 - either way is right
    else:
        assert found.model == json.loads(body)["model"]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_any_name_is_read_as_it_was_written(name):
    assert peek(json.dumps({"model": name}).encode()).model == name


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ({}, (False, None, 1)),
        ({"stream": True, "max_tokens": 5, "n": 3}, (True, 5, 3)),
        ({"max_tokens": 5, "max_completion_tokens": 7}, (False, 7, 1)),
        ({"max_tokens": 0, "n": 0}, (False, 0, 1)),
        ({"max_tokens": 7, "max_completion_tokens": 5}, (False, 7, 1)),
        ({"stream": "yes", "max_tokens": "5", "n": 2.0}, (False, 5, 2)),
        ({"max_tokens": "five", "n": "", "best_of": []}, (False, None, 1)),
        ({"n": 2, "best_of": 3, "prompt": ["a", "b"]}, (False, None, 6)),
        ({"prompt": [[1, 2], [3]], "messages": []}, (False, None, 2)),
        ({"stream": 1, "max_tokens": True, "n": -1}, (False, None, 1)),
    ],
)
def test_what_is_asked_for_is_read_and_what_is_no_number_counts_as_absent(fields, seen):
    found = peek(json.dumps({"model": "m", **fields}).encode())
    assert (found.is_stream, found.max_tokens, found.num_choices) == seen


def test_the_prompt_is_at_hand_as_sent_up_to_a_bound():
    found = peek(b'{"model":"m","prompt": "p\\u0061",\n"messages" : [ {"a":1} ] }')
    assert (found.prompt, found.num_prompt_bytes) == (b'[ {"a":1} ]', 11 + len(b'"p\\u0061"'))
    assert peek(b'{"model":"m","prompt":"pq"}').prompt == b'"pq"'
    long = peek(b'{"model":"m","prompt":"' + b"x" * 100_000 + b'"}')
    assert (len(long.prompt), long.num_prompt_bytes) == (PREFIX_BYTES, 100_002)


def test_no_part_of_what_the_model_may_read_hides_another():
    """Who leaves a stream early is charged by these bytes."""
    for said in ({"messages": [], "prompt": "a" * 998}, {"prompt": "", "tools": ["a" * 994]}):
        found = peek(json.dumps({"model": "m"} | said, separators=(",", ":")).encode())
        assert found.num_prompt_bytes >= 1000


def turns(*roles: str, content: str = "hello, [{wörld}]") -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role in roles]


@given(st.lists(st.sampled_from(["user", "assistant", "tool"]), max_size=5), st.text(max_size=30))
def test_a_growing_conversation_keeps_its_opening(later, content):
    begun = turns("system", "developer", "user", content=content)
    grown = begun + turns(*later)
    seen = [peek(json.dumps({"model": "m", "messages": each}).encode()) for each in (begun, grown)]
    assert opening(seen[0].prompt) == opening(seen[1].prompt)
    assert json.loads(opening(seen[0].prompt) + b"]") == begun


def test_an_opening_beyond_the_bound_is_the_bounded_prefix():
    begun = turns("user", content="x" * 50_000)
    seen = [
        peek(json.dumps({"model": "m", "messages": each}).encode())
        for each in (begun, begun + turns("assistant", "user"))
    ]
    assert opening(seen[0].prompt) == opening(seen[1].prompt) == seen[0].prompt


@given(st.binary(max_size=60) | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_any_prompt_has_an_opening(prompt):
    raw = prompt if isinstance(prompt, bytes) else prompt.encode()
    assert len(opening(raw)) <= 3 * len(raw)


def test_a_prompt_nested_too_deep_has_an_opening():
    assert opening(b"[" * 16_000) == b"[" * 16_000
