import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_engine.server.auth import Caller
from pagelet_engine.server.errors import ErrorReply
from pagelet_engine.server.gateway_headers import deadline_of, told_by_gateway

GATEWAY = Caller("gateway", is_gateway=True)
NAMES = {
    b"x-pagelet-weight": "weight",
    b"x-pagelet-priority": "priority",
    b"x-pagelet-max-prompt-tokens": "max_prompt_tokens",
    b"x-pagelet-max-output-tokens": "max_output_tokens",
}


def test_what_the_gateway_says_is_believed():
    headers = {
        b"x-pagelet-tenant": b"3f0c",
        b"x-pagelet-weight": b"2.5",
        b"x-pagelet-priority": b"-7",
        b"x-pagelet-max-prompt-tokens": b"100",
        b"x-pagelet-max-output-tokens": b"20",
    }
    told = told_by_gateway(GATEWAY, headers)
    assert told == Caller(
        "3f0c", 2.5, -7, is_gateway=True, max_prompt_tokens=100, max_output_tokens=20
    )
    assert told_by_gateway(GATEWAY, {}) == GATEWAY


@given(st.dictionaries(st.sampled_from([*NAMES, b"x-pagelet-tenant"]), st.binary(max_size=8)))
def test_nobody_else_is_believed_whatever_they_say(headers):
    caller = Caller("a", 2.0, 1)
    assert told_by_gateway(caller, headers) is caller


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "value", [b"", b" 1", b"nan", b"1e3", b"99999999999", b"+1", b"0x1", b"\xd9\xa1", b"1\n"]
)
def test_a_malformed_value_of_the_gateway_is_refused_by_name(name, value):
    reply = told_by_gateway(GATEWAY, {name: value})
    assert isinstance(reply, ErrorReply)
    assert (reply.status, reply.code) == (400, "invalid_gateway_header")
    assert reply.message.startswith(name.decode())


@pytest.mark.parametrize("tenant", [b"", b"acme/eu", b"a b", b"a\n", b"\xc3\xa9", b"x" * 65])
def test_a_tenant_that_cannot_be_told_from_others_is_refused_not_pooled(tenant):
    reply = told_by_gateway(GATEWAY, {b"x-pagelet-tenant": tenant})
    assert isinstance(reply, ErrorReply)
    assert (reply.status, reply.code) == (400, "invalid_gateway_header")
    assert reply.message.startswith("x-pagelet-tenant")


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [(b"0", 0.0), (b"1", 0.001), (b"1500", 1.5), (b"86400000", 86400.0), (b"9" * 12, 86400.0)],
)
def test_a_deadline_is_read_in_milliseconds_and_is_a_day_at_most(raw, seconds):
    assert deadline_of(GATEWAY, {b"x-pagelet-deadline-ms": raw}) == seconds
    assert deadline_of(Caller("a"), {b"x-pagelet-deadline-ms": raw}) is None
    assert deadline_of(GATEWAY, {}) is None


@pytest.mark.parametrize("raw", [b"", b"soon", b"-1", b"1.5", b" 1", b"1\n", b"9" * 13])
def test_a_malformed_deadline_of_the_gateway_is_refused_by_name(raw):
    reply = deadline_of(GATEWAY, {b"x-pagelet-deadline-ms": raw})
    assert isinstance(reply, ErrorReply)
    assert (reply.status, reply.code) == (400, "invalid_gateway_header")
    assert reply.message.startswith("x-pagelet-deadline-ms")


@given(st.sampled_from(sorted(NAMES)), st.binary(max_size=12))
def test_any_value_is_read_within_its_bounds_or_refused(name, value):
    told = told_by_gateway(GATEWAY, {name: value})
    if isinstance(told, Caller):
        assert 0.001 <= told.weight <= 1000
        assert -1000 <= told.priority <= 1000
        for cap in (told.max_prompt_tokens, told.max_output_tokens):
            assert cap is None or 1 <= cap < 2**31
