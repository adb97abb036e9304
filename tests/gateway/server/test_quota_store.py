import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from gateway_store import StoreServer
from pagelet_gateway.core.quota import Ledger, Limit, Refused, Scope, Ticket
from pagelet_gateway.core.route_table import Quota
from pagelet_gateway.errors import UnavailableError
from pagelet_gateway.server import quota_store
from pagelet_gateway.server.quota_store import OnFailure, StoredQuotas, StoredTicket
from pagelet_gateway.server.quotas import LocalQuotas
from pagelet_gateway.tenant_metrics import TenantMetrics


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with StoreServer(tmp_path_factory.mktemp("store")) as server:
        yield server


def quotas(url: str, on_failure: OnFailure = OnFailure.LOCAL) -> StoredQuotas:
    metrics = TenantMetrics(CollectorRegistry())
    return StoredQuotas(url, on_failure, LocalQuotas(lambda: 2), metrics.store_errors, timeout_s=20)


def scope(name: str, concurrent=None, requests=None, tokens=None) -> Scope:
    quota = Quota(
        max_concurrent_requests=concurrent, requests_per_minute=requests, tokens_per_minute=tokens
    )
    return Scope(("tenant", "m {}", name), quota)


async def settled(stored: StoredQuotas) -> None:
    while stored._settling:
        await asyncio.wait(stored._settling)


STEPS = st.lists(
    st.tuples(st.sampled_from(["ask", "ask", "end"]), st.integers(0, 60), st.integers(0, 90)),
    max_size=25,
)
NUMBERS = iter(range(10**6))


@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
async def test_the_server_decides_as_the_ledger_does(store, steps):
    number = next(NUMBERS)
    scopes = [scope(f"a{number}", 4, 9, 200), scope(f"b{number}", None, 12, None)]
    stored, ledger = quotas(store.url), Ledger()
    held = []
    for kind, tokens, used in steps:
        if kind == "ask":
            ours, theirs = (
                ledger.admit(1000.5, scopes, tokens),
                await stored.admit(scopes, tokens, 60),
            )
            assert isinstance(ours, Refused) == isinstance(theirs, Refused), (ours, theirs)
            if isinstance(ours, Refused):
                assert (ours.scope, ours.limit, ours.allowed) == (
                    theirs.scope,
                    theirs.limit,
                    theirs.allowed,
                )
                assert 0 < theirs.retry_after_s <= 61
            else:
                assert isinstance(theirs, StoredTicket)
                held.append((ours, theirs))
            for one, other in (
                (ours.standings.requests, theirs.standings.requests),
                (ours.standings.tokens, theirs.standings.tokens),
            ):
                assert (one.limit, one.remaining) == (other.limit, other.remaining)
        elif held:
            ours, theirs = held.pop(used % len(held))
            ledger.settle(1000.5, ours, used)
            for _ in range(2):
                stored.settle(theirs, used)
            await settled(stored)
    await stored.close()


async def test_replicas_together_never_exceed_a_quota(store):
    replicas = [quotas(store.url) for _ in range(3)]
    limits = [scope("common", requests=60)]
    skewed = [replicas[0]] * 80 + [replicas[1]] * 15 + [replicas[2]] * 5
    answers = await asyncio.gather(*(each.admit(limits, 1, 60) for each in skewed))
    assert sum(not isinstance(answer, Refused) for answer in answers) == 60
    for each in replicas:
        await each.close()


async def test_the_place_of_a_gateway_that_died_comes_back_with_its_lease(store, monkeypatch):
    monkeypatch.setattr(quota_store, "LEASE_EXTRA_S", 0.0)
    stored, limits = quotas(store.url), [scope("lease", concurrent=1)]
    assert isinstance(await stored.admit(limits, 1, 0.3), StoredTicket)
    refused = await stored.admit(limits, 1, 0.3)
    assert isinstance(refused, Refused)
    assert refused.limit is Limit.CONCURRENT
    async with asyncio.timeout(20):
        while isinstance(await stored.admit(limits, 1, 0.3), Refused):  # noqa: ASYNC110 - the server sets no event
            await asyncio.sleep(0.05)
    await stored.close()


async def test_while_the_server_is_gone_what_was_configured_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(quota_store, "REST_S", 0.0)
    limits = [scope("gone", requests=4)]
    with StoreServer(tmp_path) as server:
        kinds = {each: quotas(server.url, each) for each in OnFailure}
        ticket = await kinds[OnFailure.LOCAL].admit(limits, 1, 60)
        assert isinstance(ticket, StoredTicket)
        server.stop()
        local = [await kinds[OnFailure.LOCAL].admit(limits, 1, 60) for _ in range(4)]
        assert [type(each) for each in local] == [Ticket, Ticket, Refused, Refused]
        opened = [await kinds[OnFailure.OPEN].admit(limits, 1, 60) for _ in range(8)]
        assert {type(each) for each in opened} == {Ticket}
        with pytest.raises(UnavailableError) as refusal:
            await kinds[OnFailure.CLOSED].admit(limits, 1, 60)
        assert (refusal.value.code, refusal.value.retry_after_s) == ("quota_store_unavailable", 1)
        kinds[OnFailure.LOCAL].settle(local[0], 1)
        server.start()
        back = await kinds[OnFailure.LOCAL].admit(limits, 1, 60)
        assert isinstance(back, StoredTicket)
        for stored in kinds.values():
            await stored.close()


async def test_a_gone_server_is_left_alone_for_a_moment(monkeypatch):
    stored = quotas("redis://127.0.0.1:1/0")
    for _ in range(50):
        await stored.admit([scope("rest")], 1, 60)
    assert stored._failures._value.get() == 1
    await stored.close()


async def test_a_burst_waits_for_connections_and_takes_no_more_than_the_quota(store):
    stored = quotas(store.url)
    limits = [scope("burst", requests=100)]
    answers = await asyncio.gather(
        *(stored.admit(limits, 1, 60) for _ in range(3000)), return_exceptions=True
    )
    # On a machine so slow that some do not get their turn, they are told to ask again.
    assert {type(each) for each in answers} <= {StoredTicket, Refused, UnavailableError}
    assert sum(isinstance(each, StoredTicket) for each in answers) == 100
    assert stored._failures._value.get() == 0
    await stored.close()


@pytest.mark.parametrize("on_failure", list(OnFailure))
async def test_who_waits_too_long_for_a_connection_gets_no_local_share(
    store, monkeypatch, on_failure
):
    monkeypatch.setattr(quota_store, "MAX_WAIT_S", 0.01)
    stored = quotas(store.url, on_failure)
    for _ in range(quota_store.MAX_CONNECTIONS):
        await stored._places.acquire()
    if on_failure is OnFailure.OPEN:
        assert isinstance(await stored.admit([scope("busy", requests=0)], 1, 60), Ticket)
    else:
        with pytest.raises(UnavailableError) as refusal:
            await stored.admit([scope("busy", requests=9)], 1, 60)
        assert (refusal.value.code, refusal.value.retry_after_s) == ("quota_store_busy", 1)
    stored._places.release()
    assert isinstance(await stored.admit([scope("free", requests=9)], 1, 60), StoredTicket)
    await stored.close()
