import asyncio
import socket

from pagelet_gateway.server.replicas import Replicas


def answers(*addresses: str):
    """What getaddrinfo returns for these addresses."""
    kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
    return [(*kind, (address, 0)) for address in addresses]


async def test_replicas_are_the_addresses_behind_a_name_and_the_last_count_stays(monkeypatch):
    found = answers("10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.3")

    async def look_up(name, port, *, type):  # noqa: A002 - the loop's own name
        assert (name, port, type) == ("gateways", None, socket.SOCK_STREAM)
        if found is None:
            raise OSError("no such name")
        return found

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    replicas = Replicas(2, "gateways")
    assert replicas.count() == 2
    await replicas.look("gateways")
    assert replicas.count() == 3
    found = None
    await replicas.look("gateways")
    assert replicas.count() == 3
    found = answers("10.0.0.9")
    await replicas.look("gateways")
    assert replicas.count() == 1


async def test_without_a_name_the_number_is_fixed():
    replicas = Replicas(4, None)
    await replicas.run()
    assert replicas.count() == 4
