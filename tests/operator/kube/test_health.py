"""The health port: alive means that what is due gets done, whatever the API server does."""

import socket
import time
from typing import cast

import aiohttp
import pytest

from pagelet_operator.core.model import ModelRef
from pagelet_operator.kube.api import Api
from pagelet_operator.kube.health import STUCK_S, serving, verdict
from pagelet_operator.kube.loop import Controller
from pagelet_operator.kube.metrics import Metrics
from pagelet_operator.kube.queue import WorkQueue
from pagelet_operator.kube.runtime import KubeRuntime

REF = ModelRef("n", "chat")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def controller(clock: Clock) -> Controller:
    # No call is made: these tests look at the queue only.
    api = cast(Api, None)
    found = Controller(api, KubeRuntime(api, engine_image="x"), Metrics())
    found.queue = WorkQueue(clock)
    found.progressed_at = clock.now
    return found


def test_an_idle_operator_is_alive_however_long(controller: Controller, clock: Clock) -> None:
    controller.queue.add(REF, delay_s=1e6)
    clock.now += STUCK_S * 10
    assert verdict(controller, clock.now) is None


def test_what_is_due_and_never_done_is_death(controller: Controller, clock: Clock) -> None:
    controller.queue.add(REF)
    clock.now += STUCK_S
    assert verdict(controller, clock.now) is None
    clock.now += 1
    assert "has waited 121 s" in str(verdict(controller, clock.now))


def test_a_long_queue_that_moves_is_alive(controller: Controller, clock: Clock) -> None:
    controller.queue.add(REF)
    clock.now += STUCK_S * 2
    controller.progressed_at = clock.now - 1
    assert verdict(controller, clock.now) is None


async def test_the_port_tells_liveness_readiness_and_metrics(controller: Controller) -> None:
    metrics = Metrics()
    metrics.wrote(3)
    async with (
        serving(controller, metrics, "127.0.0.1", 0) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):

        async def get(path: str) -> tuple[int, str]:
            async with session.get(path) as answer:
                return answer.status, await answer.text()

        assert await get("/healthz") == (200, "ok\n")
        assert (await get("/readyz"))[0] == 503
        controller.listed_at = time.monotonic()
        assert await get("/readyz") == (200, "ok\n")
        assert "pagelet_operator_writes_total 3.0" in (await get("/metrics"))[1]
        controller.queue.add(REF, delay_s=-STUCK_S * 2)
        controller.progressed_at = time.monotonic() - STUCK_S * 2
        assert (await get("/healthz"))[0] == 503
        assert (await get("/other"))[0] == 404


async def test_a_port_that_is_taken_is_an_error_at_once(controller: Controller) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="address already in use"):
            async with serving(controller, Metrics(), "127.0.0.1", taken.getsockname()[1]):
                pass


async def test_who_stands_by_is_ready(controller: Controller) -> None:
    def standing_by() -> bool:
        return True

    async with (
        serving(controller, Metrics(), "127.0.0.1", 0, standing_by=standing_by) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/readyz") as answer,
    ):
        assert answer.status == 200
        assert "another operator works" in await answer.text()
