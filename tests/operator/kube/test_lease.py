"""Operators on a real API server: one works, another takes over when it goes or is lost."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from kube_cluster import Cluster
from pagelet_operator.core.leadership import DEADLINE_S, DURATION_S
from pagelet_operator.kube.api import Api, ConflictError, connect, load_configuration
from pagelet_operator.kube.lease import LEASES, Lease, LeaseLostError, work_while_held

pytestmark = pytest.mark.cluster


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@asynccontextmanager
async def api_of(cluster: Cluster) -> AsyncIterator[Api]:
    async with connect(await load_configuration(str(cluster.operator_kubeconfig))) as api:
        yield api


async def test_one_holds_it_and_the_next_takes_it_once_it_stands_still(
    cluster: Cluster, namespace: str, clock: Clock
) -> None:
    async with api_of(cluster) as api:
        a, b = (Lease(api, namespace, "operator", name, clock) for name in "ab")
        assert await a.turn()
        assert not await b.turn()
        clock.now += DURATION_S - 1
        assert await a.turn()
        assert not await b.turn(), "it was renewed"
        clock.now += DURATION_S
        assert await b.turn()
        assert not await a.turn()
        assert (a.held, b.held) == (False, True)


async def test_what_is_given_back_is_taken_at_once(
    cluster: Cluster, namespace: str, clock: Clock
) -> None:
    async with api_of(cluster) as api:
        a, b = (Lease(api, namespace, "operator", name, clock) for name in "ab")
        assert await a.turn()
        await b.release()
        assert not await b.turn(), "only the holder can give it back"
        await a.release()
        assert await b.turn()


async def test_of_two_that_write_at_once_one_is_refused(
    cluster: Cluster, namespace: str, clock: Clock
) -> None:
    async with api_of(cluster) as api:
        await Lease(api, namespace, "operator", "a", clock).turn()
        seen = await api.get(LEASES, namespace, "operator")
        assert seen is not None
        await api.replace(LEASES, {**seen, "spec": {"holderIdentity": "b"}})
        with pytest.raises(ConflictError):
            await api.replace(LEASES, {**seen, "spec": {"holderIdentity": "c"}})
        leases = [Lease(api, namespace, "fresh", name, clock) for name in "abcd"]
        assert sum(await asyncio.gather(*(lease.turn() for lease in leases))) == 1


async def test_the_work_ends_when_somebody_else_has_the_lease(
    cluster: Cluster, namespace: str
) -> None:
    async with api_of(cluster) as api:
        lease = Lease(api, namespace, "operator", "a")
        await lease.acquire()
        ended = asyncio.Event()

        async def work() -> None:
            await steal(api, namespace)
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        with pytest.raises(LeaseLostError, match="somebody else took it"):
            await work_while_held(lease, work)
        assert ended.is_set()
        found = await api.get(LEASES, namespace, "operator")
        assert found is not None
        assert found["spec"]["holderIdentity"] == "thief", "what is lost is not given back"


async def steal(api: Api, namespace: str) -> None:
    """Write another holder, between two renewals."""
    while True:
        found = await api.get(LEASES, namespace, "operator")
        assert found is not None
        try:
            await api.replace(LEASES, {**found, "spec": {"holderIdentity": "thief"}})
            return
        except ConflictError:
            continue


async def test_work_that_ends_gives_the_lease_back_and_its_error_is_told(
    cluster: Cluster, namespace: str
) -> None:
    async with api_of(cluster) as api:
        for error in (None, RuntimeError("broken")):
            lease = Lease(api, namespace, "operator", "a")
            await lease.acquire()

            async def work(error: Exception | None = error) -> None:
                if error is not None:
                    raise error

            if error is None:
                await work_while_held(lease, work)
            else:
                with pytest.raises(RuntimeError, match="broken"):
                    await work_while_held(lease, work)
            found = await api.get(LEASES, namespace, "operator")
            assert found is not None
            assert "holderIdentity" not in found["spec"]


async def test_an_api_server_that_is_away_ends_the_work_by_the_deadline(
    cluster: Cluster, clock: Clock, tmp_path: Path
) -> None:
    with socket.socket() as silent:  # bound and not listening: nobody answers there
        silent.bind(("127.0.0.1", 0))
        away = replace(cluster, server=f"https://127.0.0.1:{silent.getsockname()[1]}")
        path = away.write_kubeconfig(tmp_path / "away", cluster.token)
        async with connect(await load_configuration(str(path))) as api:
            lease = Lease(api, "default", "operator", "a", clock)
            jump = asyncio.get_running_loop().call_later(
                0.1, lambda: setattr(clock, "now", DEADLINE_S)
            )
            with pytest.raises(LeaseLostError, match="is lost: GET"):
                await lease.keep()
            jump.cancel()
            assert not lease.held
