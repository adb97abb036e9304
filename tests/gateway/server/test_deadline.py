import pytest

from pagelet_gateway.errors import RequestError
from pagelet_gateway.server.deadline import time_limit_s
from pagelet_gateway.server.exchange import Exchange


def exchange(value: bytes | None) -> Exchange:
    async def nothing(*_: object) -> dict[str, str]:
        return {"type": "http.disconnect"}

    headers = [] if value is None else [(b"x-request-timeout-ms", value)]
    scope = {"method": "POST", "path": "/", "headers": headers}
    return Exchange(scope, nothing, nothing, closes=False)


def test_a_client_may_ask_for_less_time_and_never_gets_more():
    assert time_limit_s(exchange(None), 600.0) == 600.0
    assert time_limit_s(exchange(b"1500"), 600.0) == 1.5
    assert time_limit_s(exchange(b"999999999"), 600.0) == 600.0


@pytest.mark.parametrize("value", [b"", b"0", b"-1", b"1.5", b"1e3", b"soon", b"9" * 13])
def test_a_time_that_is_none_is_the_clients_to_mend(value):
    with pytest.raises(RequestError, match="milliseconds"):
        time_limit_s(exchange(value), 600.0)
