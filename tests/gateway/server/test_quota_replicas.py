"""Three real gateways, one quota."""

import asyncio
import contextlib
import time

from gateway_process import GatewayProcess, model, post
from gateway_store import StoreServer
from gateway_tenants import bearer, tenant, uses
from gateway_upstream import Upstream

PATH = "/v1/chat/completions"
KEY = "red-key-0123456789"
QUOTA = 600
TOLERANCE = QUOTA // 10


@contextlib.contextmanager
def three(tmp_path, *options):
    with contextlib.ExitStack() as stack:
        gateways = []
        for name in "abc":
            (tmp_path / name).mkdir()
            gateways.append(stack.enter_context(GatewayProcess(tmp_path / name, *options)))
        yield gateways
        assert [gateway.stop() for gateway in gateways] == [0, 0, 0]


async def admitted(gateways, session, engine, shares):
    """Ask each gateway so often, all of them at once; how many were let in, and may be."""
    route = model(
        "m",
        {"m-1": (100, [engine.url])},
        tenants=[tenant("red", KEY, requestsPerMinute=QUOTA, tokensPerMinute=10**6)],
    )
    for gateway in gateways:
        gateway.apply(route)

    async def client(gateway, count):
        statuses = [
            (await post(session, gateway.url + PATH, {"model": "m"}, **bearer(KEY)))[0]
            for _ in range(count)
        ]
        assert set(statuses) <= {200, 429}
        return statuses.count(200)

    clients = [
        client(gateway, share // 4)
        for gateway, share in zip(gateways, shares, strict=True)
        for _ in range(4)
    ]
    begun_at = time.monotonic()
    count = sum(await asyncio.gather(*clients))
    # On a machine so slow that this takes minutes, each begun one has a quota of its own.
    return count, QUOTA * (1 + int((time.monotonic() - begun_at) // 60))


async def test_with_a_store_a_quota_holds_however_skewed_the_clients_are(tmp_path, session):
    patience = ("--quota-store-timeout", "20")
    with (
        StoreServer(tmp_path) as store,
        three(tmp_path, "--quota-store", store.url, *patience) as gateways,
    ):
        async with Upstream(uses(1, 1)) as engine:
            count, most = await admitted(gateways, session, engine, (580, 100, 40))
            assert QUOTA - TOLERANCE <= count <= most
            assert len(engine.received) == count


async def test_without_a_store_a_quota_holds_for_even_clients(tmp_path, session):
    with three(tmp_path, "--replicas", "3") as gateways:
        async with Upstream(uses(1, 1)) as engine:
            count, most = await admitted(gateways, session, engine, (240, 240, 240))
            assert QUOTA - TOLERANCE <= count <= most
