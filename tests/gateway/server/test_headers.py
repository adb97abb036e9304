from pagelet_gateway.core.route_table import Caps, ModelRoute, Tenant
from pagelet_gateway.core.tenancy import Caller, opaque_id
from pagelet_gateway.server.headers import to_client, to_engine, trusted


def test_a_client_cannot_set_what_engines_trust():
    passed = to_engine(
        {
            b"accept": b"text/event-stream",
            b"content-type": b"application/json",
            b"authorization": b"Bearer secret",
            b"cookie": b"a=b",
            b"host": b"gateway",
            b"x-pagelet-deadline-ms": b"999999999",
            b"x-pagelet-tenant": b"somebody",
            b"transfer-encoding": b"chunked",
            b"traceparent": b"00-1-2-01",
        },
        request_id=b"r-1",
        deadline_ms=5000,
    )
    assert passed == {
        "accept": "text/event-stream",
        "content-type": "application/json",
        "traceparent": "00-1-2-01",
        "x-request-id": "r-1",
        "x-pagelet-deadline-ms": "5000",
    }


def test_what_belongs_to_one_connection_does_not_reach_the_client():
    passed = to_client(
        [
            (b"Content-Type", b"application/json"),
            (b"Connection", b"close, X-Private"),
            (b"X-Private", b"1"),
            (b"Keep-Alive", b"timeout=5"),
            (b"Upgrade", b"h2c"),
            (b"Server", b"engine"),
            (b"X-Request-Id", b"theirs"),
            (b"X-Pagelet-Revision", b"theirs"),
            (b"Retry-After", b"3"),
            (b"X-RateLimit-Limit-Requests", b"60"),
        ],
        revision="m-1",
    )
    assert passed == [
        (b"content-type", b"application/json"),
        (b"retry-after", b"3"),
        (b"x-pagelet-revision", b"m-1"),
    ]


def test_of_two_framings_only_the_one_that_was_used_counts():
    passed = to_client(
        [(b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")], revision="r"
    )
    assert passed == [(b"x-pagelet-revision", b"r")]


def test_a_fallbacks_engines_get_its_own_key_and_the_tighter_caps():
    def route(name: str, key: str | None, prompt: int | None, output: int | None) -> ModelRoute:
        return ModelRoute(
            name=name,
            resource=f"ns/{name}",
            generation=1,
            request_timeout_s=1,
            revisions=(),
            caps=Caps(max_prompt_tokens=prompt, max_output_tokens=output),
            gateway_key=key,
        )

    asked, other = route("a", "key-a", 100, 10), route("b", "key-b", 50, None)
    who = Tenant(name="red", key_hashes=frozenset(), weight=2, priority=0)
    assert trusted(Caller(route=asked, tenant=who), other) == {
        "x-pagelet-gateway-key": "key-b",
        "x-pagelet-tenant": opaque_id("ns/a", "red"),
        "x-pagelet-weight": "2",
        "x-pagelet-priority": "0",
        "x-pagelet-max-prompt-tokens": "50",
        "x-pagelet-max-output-tokens": "10",
        "x-pagelet-usage": "1",
    }
    bare = route("c", None, None, None)
    assert trusted(Caller(route=bare, tenant=None), bare) == {"x-pagelet-usage": "1"}
