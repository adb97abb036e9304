"""Runs a plan: closed loop (so many in flight) or open loop (by the clock, come what may)."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence

import aiohttp

from pagelet_bench.client import Endpoint, complete
from pagelet_bench.core.result import RequestResult
from pagelet_bench.core.workload import PlannedRequest, Profile

OnResult = Callable[[RequestResult], None]


async def run(
    session: aiohttp.ClientSession,
    endpoint: Endpoint,
    profile: Profile,
    requests: Sequence[PlannedRequest],
    *,
    timeout_s: float,
    on_result: OnResult,
) -> None:
    """Send every request of the plan and report each result, in the order of their ends.

    Cancelling it abandons what is in flight; results already reported stay valid.
    """
    if profile.concurrency is None:
        await _open_loop(session, endpoint, requests, timeout_s, on_result)
        return
    waiting = iter(requests)
    async with asyncio.TaskGroup() as group:
        for _ in range(min(profile.concurrency, len(requests))):
            group.create_task(_worker(session, endpoint, waiting, timeout_s, on_result))


async def _worker(
    session: aiohttp.ClientSession,
    endpoint: Endpoint,
    waiting: Iterator[PlannedRequest],
    timeout_s: float,
    on_result: OnResult,
) -> None:
    for request in waiting:  # shared: whichever worker is free takes the next
        on_result(await complete(session, endpoint, request, timeout_s=timeout_s))


async def _open_loop(
    session: aiohttp.ClientSession,
    endpoint: Endpoint,
    requests: Sequence[PlannedRequest],
    timeout_s: float,
    on_result: OnResult,
) -> None:
    began_s = time.monotonic()

    async def send(request: PlannedRequest) -> None:
        late_s = time.monotonic() - began_s - request.due_s
        on_result(await complete(session, endpoint, request, timeout_s=timeout_s, late_s=late_s))

    async with asyncio.TaskGroup() as group:
        for request in requests:
            await asyncio.sleep(began_s + request.due_s - time.monotonic())
            group.create_task(send(request))
