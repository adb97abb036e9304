"""Worlds for the contract every `Runtime` must keep, each with the levers a test needs.

A world offers `runtime`, the model and revisions to use in it, and `become_ready(revision)`,
which returns once every replica of the revision is ready.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from local_processes import scripted_engine
from pagelet_operator.core.model import Model
from pagelet_operator.local.probe import HttpProbe
from pagelet_operator.local.route_file import RouteFile
from pagelet_operator.local.runtime import ProcessRuntime
from pagelet_operator.testing import FakeRuntime


class FakeWorld:
    def __init__(self) -> None:
        self.runtime = FakeRuntime()

    async def become_ready(self, model: Model, revision: str) -> None:
        self.runtime.ready[revision] = 1000


class ProcessWorld:
    def __init__(self, runtime: ProcessRuntime) -> None:
        self.runtime = runtime

    async def become_ready(self, model: Model, revision: str) -> None:
        while True:
            seen = (await self.runtime.observe(model.ref)).revisions[revision]
            if seen.ready == seen.replicas:
                return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def fake_world(tmp_path) -> AsyncIterator[FakeWorld]:
    yield FakeWorld()


@asynccontextmanager
async def process_world(tmp_path) -> AsyncIterator[ProcessWorld]:
    async with HttpProbe() as probe:
        runtime = ProcessRuntime(
            routes=RouteFile(tmp_path / "routes.json"),
            log_dir=tmp_path / "logs",
            probe=probe,
            listener=lambda reason, text: None,
            engine=scripted_engine,
            settle_s=0.0,
        )
        try:
            yield ProcessWorld(runtime)
        finally:
            await runtime.close(0.0)


WORLDS = {"fake": fake_world, "process": process_world}
