import socket

import pytest

from pagelet_gateway.errors import ConfigError
from pagelet_gateway.server.listener import bind, url_of


def test_a_bound_socket_takes_connections_at_once():
    with bind("127.0.0.1", 0) as listener:
        with socket.create_connection(listener.getsockname()):
            pass
        assert url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("host", "reason"), [("no.such.host.invalid", "cannot be resolved"), ("192.0.2.1", "listen")]
)
def test_an_address_that_cannot_be_had_is_told(host, reason):
    with pytest.raises(ConfigError, match=reason):
        bind(host, 0)


def test_a_port_in_use_names_port_and_remedy():
    with bind("127.0.0.1", 0) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(ConfigError, match=f"Port {port} on 127.0.0.1 is in use.*--port"):
            bind("127.0.0.1", port)
