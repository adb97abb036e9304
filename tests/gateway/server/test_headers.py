from pagelet_gateway.server.headers import to_client, to_engine


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
