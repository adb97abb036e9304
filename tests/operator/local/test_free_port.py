import socket

import pytest

from pagelet_operator.local.free_port import free_port, is_free


def test_a_free_port_can_be_bound():
    port = free_port("127.0.0.1")
    assert is_free("127.0.0.1", port)
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))


def test_a_port_somebody_listens_on_is_not_free():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        assert not is_free("127.0.0.1", server.getsockname()[1])


def test_a_port_with_lingering_connections_is_free():
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as every server here has
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
    accepted.close()  # the server's side closes first and stays in TIME_WAIT
    client.close()
    assert is_free("127.0.0.1", port)


def test_an_address_of_another_machine_is_an_error():
    with pytest.raises(OSError, match=r"assign|reachable"):
        is_free("192.0.2.1", 0)
